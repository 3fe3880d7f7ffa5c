"""How a run ended, told by a real supervisor over real processes."""

from __future__ import annotations

import os
import re
import signal

import psutil
import pytest
from supervised_pod import Pod, until

DONE = 'leave("result.json", RunResult(result="succeeded", step=9, train_loss=0.5))\n'
STOPPED = 'leave("result.json", RunResult(result="stopped", step=4, checkpoint_step=4))\n'
WAIT_FOR_STOP = 'beat(step=4)\nwhile not (run_dir / "stop").exists(): time.sleep(0.01)\n'


def error(rank: int, reason: str, *, retryable: bool) -> str:
    return (
        f'leave("error-{rank}.json", RankError(rank={rank}, reason="{reason}", message="said by {rank}", '
        f"retryable={retryable}, step=7))\n"
    )


def test_success_is_the_trainers_word(pod: Pod) -> None:
    code, outcome = pod.outcome(DONE)
    assert (code, outcome.result, outcome.step, outcome.train_loss) == (0, "succeeded", 9, 0.5)
    assert (outcome.attempt, outcome.node_rank, outcome.spec_hash) == (3, 0, "abc")
    assert pod.on_volume == outcome


def test_exit_code_0_alone_is_no_success(pod: Pod) -> None:
    code, outcome = pod.outcome("print('nothing done')")
    assert (code, outcome.result, outcome.reason, outcome.retryable) == (1, "failed", "Crashed", True)
    assert outcome.log_tail == "nothing done"


def test_a_crash_after_the_last_barrier_does_not_undo_the_result(pod: Pod) -> None:
    code, outcome = pod.outcome(DONE + "os.abort()")
    assert (code, outcome.result, outcome.exit_code) == (0, "succeeded", -signal.SIGABRT)


def test_the_first_real_error_wins_over_lost_peers(pod: Pod) -> None:
    ranks = error(1, "PeerLost", retryable=True) + error(0, "DataInvalid", retryable=False) + "sys.exit(1)"
    code, outcome = pod.outcome(ranks)
    assert code == 1
    assert (outcome.reason, outcome.rank, outcome.step, outcome.retryable) == ("DataInvalid", 0, 7, False)


def test_a_lost_peer_is_the_reason_where_there_is_no_other(pod: Pod) -> None:
    _, outcome = pod.outcome(error(0, "PeerLost", retryable=True) + "sys.exit(1)")
    assert (outcome.reason, outcome.rank, outcome.retryable) == ("PeerLost", 0, True)


def test_a_killed_launcher_names_its_signal(pod: Pod) -> None:
    _, outcome = pod.outcome("os.kill(os.getpid(), 9)")
    assert (outcome.reason, outcome.exit_code, outcome.retryable) == ("Crashed", -9, True)
    assert "SIGKILL" in outcome.message


def test_what_an_earlier_run_left_is_not_believed(pod: Pod) -> None:
    pod.run.mkdir()
    (pod.run / "result.json").write_text('{"result": "succeeded", "step": 9}')
    (pod.run / "stop").touch()
    _, outcome = pod.outcome('assert not (run_dir / "stop").exists()\nprint("fresh")')
    assert (outcome.result, outcome.log_tail) == ("failed", "fresh")


def test_output_goes_through_and_its_end_is_kept(pod: Pod) -> None:
    _, outcome = pod.outcome('for n in range(100): print("line", n, flush=True)\nprint("oops", file=sys.stderr)')
    assert outcome.log_tail.splitlines() == [f"line {n}" for n in range(61, 100)] + ["oops"]
    assert "line 0\n" in pod.log.read_text()


def test_sigterm_becomes_a_wish_and_the_ranks_save(pod: Pod) -> None:
    process = pod.start(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(9))\n" + WAIT_FOR_STOP + STOPPED
    )
    until((pod.run / "heartbeat-0.json").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    outcome = pod.message
    assert (outcome.result, outcome.reason, outcome.step, outcome.checkpoint_step) == ("stopped", "Stopped", 4, 4)
    assert outcome.exit_code == 0  # nobody sent it SIGTERM


def test_ranks_that_do_not_save_in_time_are_told_and_then_killed(pod: Pod) -> None:
    pod.configure(grace_seconds=3)
    stubborn = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
beat(step=4)
while True: time.sleep(0.05)
"""
    process = pod.start(stubborn)
    until((pod.run / "heartbeat-0.json").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    outcome = pod.message
    assert (outcome.result, outcome.exit_code, outcome.step, outcome.log_tail) == ("stopped", -9, 4, "told")
    assert "before the ranks could save" in outcome.message


def test_a_second_wish_does_not_wait(pod: Pod) -> None:
    process = pod.start("beat(step=4)\ntime.sleep(600)")
    until((pod.run / "heartbeat-0.json").exists)
    process.send_signal(signal.SIGINT)
    until((pod.run / "stop").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 143
    assert pod.message.exit_code == -signal.SIGTERM


def test_a_real_error_while_stopping_is_told(pod: Pod) -> None:
    process = pod.start(WAIT_FOR_STOP + error(0, "CheckpointInvalid", retryable=False) + "sys.exit(1)")
    until((pod.run / "heartbeat-0.json").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert pod.message.reason == "CheckpointInvalid"


def test_a_silent_rank_is_a_hang_and_everything_is_killed(pod: Pod) -> None:
    pod.configure(hang_timeout_seconds=1, processes_per_node=2)
    ranks = """
import subprocess
beat(0, step=6); beat(1, step=5)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
while True:
    beat(0, step=6)
    time.sleep(0.05)
"""
    code, outcome = pod.outcome(ranks, PET_NPROC_PER_NODE="2")
    assert (code, outcome.reason, outcome.rank, outcome.step, outcome.retryable) == (1, "Hang", 1, 5, True)
    assert "rank 1 stands still at step 5" in outcome.message
    assert not psutil.pid_exists(int(outcome.log_tail.split()[1]))


def test_a_rank_without_any_heartbeat_is_a_hang_once_others_train(pod: Pod) -> None:
    pod.configure(hang_timeout_seconds=1, processes_per_node=2)
    _, outcome = pod.outcome("while True:\n    beat(0, step=6)\n    time.sleep(0.05)", PET_NPROC_PER_NODE="2")
    assert (outcome.reason, outcome.rank) == ("Hang", 1)
    assert "gave no heartbeat" in outcome.message


def test_loading_may_take_its_time(pod: Pod) -> None:
    pod.configure(hang_timeout_seconds=1)
    _, outcome = pod.outcome('beat(phase="data")\ntime.sleep(2.2)\n' + DONE)
    assert outcome.result == "succeeded"


def test_orphans_of_a_dead_launcher_are_killed(pod: Pod) -> None:
    ranks = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    _, outcome = pod.outcome(ranks)
    assert not psutil.pid_exists(int(outcome.log_tail.split()[1]))


def test_zombies_are_buried(pod: Pod) -> None:
    ranks = """
if os.fork() == 0:  # a child that leaves an orphan behind
    if os.fork() == 0: print("grandchild", os.getpid(), flush=True)
    os._exit(0)
while not (run_dir / "stop").exists(): time.sleep(0.01)
"""
    process = pod.start(ranks)
    told = re.compile(r"grandchild (\d+)\n")
    until(lambda: told.search(pod.log.read_text()) is not None)
    pid = int(told.findall(pod.log.read_text())[0])
    until(lambda: not psutil.pid_exists(pid))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143


@pytest.mark.skipif(os.getuid() != 0, reason="needs a process namespace")
def test_process_1_hears_sigterm_and_leaves_nobody_behind(pod: Pod) -> None:
    within = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    ranks = "assert os.getppid() == 1\nif os.fork() == 0: time.sleep(600)\n"
    process = pod.start(ranks + WAIT_FOR_STOP + STOPPED, within=within)
    until((pod.run / "heartbeat-0.json").exists)
    [first] = psutil.Process(process.pid).children()
    below = first.children(recursive=True)
    first.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert pod.message.result == "stopped"
    assert len(below) == 2
    assert not any(child.is_running() for child in below)


@pytest.mark.skipif(os.getuid() != 0, reason="needs a mount namespace")
def test_a_volume_that_becomes_read_only_does_not_undo_the_result(pod: Pod) -> None:
    pod.output.mkdir()
    ranks = f"""
import subprocess
subprocess.run(["mount", "--bind", "-o", "ro", "{pod.output}", "{pod.output}"], check=True)
"""
    process = pod.start(ranks + DONE, within=["unshare", "--mount"])
    assert process.wait(60) == 0
    assert pod.message.result == "succeeded"
    assert "nothing was written to" in pod.log.read_text()
    assert not list((pod.output / ".finetune").iterdir())
