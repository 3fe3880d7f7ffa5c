"""Attempts on this machine: real processes, the operator's decisions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finetune_operator.local import STOPPED, FolderMissing

SUCCEED = 'end("succeeded")'
DUMP = '(output / f"env-{node}.json").write_text(json.dumps(dict(env)))\n'


def environments(machine: Any, nodes: int) -> list[dict[str, str]]:
    return [json.loads((machine.output / f"env-{node}.json").read_text()) for node in range(nodes)]


def test_a_job_that_succeeds(machine: Any) -> None:
    assert machine.run(SUCCEED) == 0
    assert "attempt 1 succeeded" in machine.said.getvalue()


def test_every_node_gets_what_the_training_operator_would_inject(machine: Any) -> None:
    assert machine.run(DUMP + SUCCEED, nodes=2, resources={"nodes": 2, "processesPerNode": 3}) == 0
    first, second = environments(machine, 2)
    for env in (first, second):
        assert (env["PET_NNODES"], env["PET_NPROC_PER_NODE"], env["WORLD_SIZE"]) == ("2", "3", "6")
        assert env["MASTER_ADDR"] == env["PET_MASTER_ADDR"] == "127.0.0.1"
        assert env["MASTER_PORT"] == env["PET_MASTER_PORT"] == first["MASTER_PORT"]
    assert (first["RANK"], first["PET_NODE_RANK"], second["RANK"], second["PET_NODE_RANK"]) == ("0", "0", "1", "1")
    assert first["FINETUNE_RUN_DIR"] != second["FINETUNE_RUN_DIR"]


def test_what_is_written_lies_in_the_output_claim(machine: Any) -> None:
    assert machine.run('(output / "model").write_text("weights")\n' + SUCCEED) == 0
    assert (machine.output / "model").read_text() == "weights"


def test_a_failed_attempt_is_followed_by_the_next(machine: Any) -> None:
    script = 'end("succeeded") if attempt == 2 else end("failed", "LossNaN", "the loss is not a number")'
    assert machine.run(script) == 0
    said = machine.said.getvalue()
    assert "attempt 1 ended: LossNaN (rank 0): the loss is not a number" in said
    assert "the last line" in said
    assert "attempt 2 succeeded" in said


def test_the_attempts_come_to_an_end(machine: Any) -> None:
    script = '(output / f"attempt-{attempt}").touch(); end("failed", "Crashed", "again")'
    assert machine.run(script, runPolicy={"maxAttempts": 2}) == 1
    assert sorted(path.name for path in machine.output.glob("attempt-*")) == ["attempt-1", "attempt-2"]


def test_a_fault_of_the_users_is_not_tried_again(machine: Any) -> None:
    assert machine.run('end("failed", "DataInvalid", "row 7 has no output", retryable=False)') == 1
    said = machine.said.getvalue()
    assert "row 7 has no output" in said
    assert "attempt 2" not in said
    assert "the last line" not in said


def test_a_supervisor_that_dies_without_a_word_shows_its_log(machine: Any) -> None:
    assert machine.run('raise SystemExit("no such thing")', runPolicy={"maxAttempts": 1}) == 1
    assert "no such thing" in machine.said.getvalue()


def test_success_without_a_completion_is_no_success(machine: Any) -> None:
    assert machine.run("sys.exit(0)", runPolicy={"maxAttempts": 1}) == 1
    assert "left no completion record" in machine.said.getvalue()


def test_the_deadline_is_kept(machine: Any) -> None:
    assert machine.run("signal.pause()", runPolicy={"activeDeadlineSeconds": 1}) == 1
    assert "DeadlineExceeded" in machine.said.getvalue()


def test_when_one_node_fails_the_other_is_ended(machine: Any) -> None:
    script = """
pid_file = output / "peer"
if node == 1:
    pid_file.write_text(str(os.getpid()))
    signal.pause()
while not pid_file.exists():
    pass
end("failed", "Crashed", "node 0 is broken", retryable=False)
"""
    assert machine.run(script, nodes=2) == 1
    assert "node 0 is broken" in machine.said.getvalue()


def test_progress_is_told(machine: Any) -> None:
    script = """
progress = Progress(
    time=0.0, phase="training", step=5, total_steps=20, loss=1.25, tokens_per_second=512.0, remaining_seconds=80
)
run_dir.joinpath("progress.json").write_text(progress.to_json())
end("succeeded")
"""
    assert machine.run(script) == 0
    assert "training, step 5 of 20, loss 1.25, 512 tokens/s, 0:01:20 left" in machine.said.getvalue()


def test_the_first_ctrl_c_lets_the_ranks_save(machine: Any) -> None:
    script = """
def stop(number, frame):
    (output / "saved").touch()
    end("stopped", "Stopped", "saved at step 3")
signal.signal(signal.SIGTERM, stop)
os.kill(os.getppid(), signal.SIGINT)
while True:
    signal.pause()
"""
    assert machine.run(script) == STOPPED
    assert (machine.output / "saved").exists()


def test_the_second_ctrl_c_does_not_wait(machine: Any) -> None:
    script = """
signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getppid(), signal.SIGINT))
os.kill(os.getppid(), signal.SIGINT)
while True:
    signal.pause()
"""
    assert machine.run(script) == STOPPED


def test_a_claim_that_is_read_must_be_there(machine: Any) -> None:
    with pytest.raises(FolderMissing, match=r"claim elsewhere: no folder .*; .*--claim elsewhere=FOLDER"):
        machine.run(SUCCEED, model={"uri": "pvc://elsewhere/tiny"})


FETCHED = """
if sys.argv[1:] == ["prepare"]:
    from finetune_trainer.records import Preparation, PrepareSpec
    wanted = PrepareSpec.from_json((pathlib.Path(os.environ["FINETUNE_CONFIG_DIR"]) / "prepare.json").read_text())
    found = Preparation(result=RESULT, reason="Said", message="said so", retryable=False, model=wanted.cache + "/it")
    pathlib.Path(os.environ["FINETUNE_TERMINATION_LOG"]).write_text(found.to_json())
    sys.exit(0 if RESULT == "succeeded" else 2)
"""
REMOTE = {"model": {"uri": "hf://org/tiny"}, "storage": {"output": {"claimName": "runs"}, "cache": {"claimName": "m"}}}


def test_a_model_of_a_hub_is_fetched_before_the_ranks_start(machine: Any) -> None:
    script = 'print((pathlib.Path(env["FINETUNE_CONFIG_DIR"]) / "train.yaml").read_text()); end("succeeded")'
    assert machine.run(script, before=FETCHED.replace("RESULT", '"succeeded"'), **REMOTE) == 0
    log = (machine.folders().attempt(1) / "node-0.log").read_text(encoding="utf-8")
    assert f"model_name_or_path: {machine.folders().paths.cache}/it" in log


def test_a_model_that_cant_be_fetched_ends_the_run(machine: Any) -> None:
    assert machine.run('end("succeeded")', before=FETCHED.replace("RESULT", '"failed"'), **REMOTE) == 1
    assert "said so" in machine.said.getvalue()
    assert not machine.folders().attempt(1).exists()


MERGED = """
if sys.argv[1:] == ["export", "--in-job"]:
    from finetune_trainer.records import Exported, RunSpec
    run = RunSpec.from_json((pathlib.Path(os.environ["FINETUNE_CONFIG_DIR"]) / "run.json").read_text())
    found = Exported(result=RESULT, reason="Said", message="said so", retryable=False, folder=run.output_dir + "/it")
    pathlib.Path(os.environ["FINETUNE_TERMINATION_LOG"]).write_text(found.to_json())
    sys.exit(0 if RESULT == "succeeded" else 2)
"""
LORA = {
    "training": {"stage": "sft", "do_train": True, "finetuning_type": "lora", "template": "qwen", "output_dir": "out"},
    "export": {"merge": True},
}


def test_an_adapter_is_merged_when_it_is_trained(machine: Any) -> None:
    assert machine.run(SUCCEED, before=MERGED.replace("RESULT", '"succeeded"'), **LORA) == 0
    assert "merging the adapter into the model; log: " in machine.said.getvalue()


def test_one_that_cant_be_merged_is_told(machine: Any) -> None:
    assert machine.run(SUCCEED, before=MERGED.replace("RESULT", '"failed"'), **LORA) == 1
    assert "trained, and not exported: said so" in machine.said.getvalue()


def test_who_stops_while_it_is_merged_keeps_what_was_trained(machine: Any) -> None:
    waits = """
if sys.argv[1:] == ["export", "--in-job"]:
    os.kill(os.getppid(), signal.SIGINT)
    while True:
        signal.pause()
"""
    assert machine.run(SUCCEED, before=waits, **LORA) == STOPPED
    assert "what was trained is complete, and not exported" in machine.said.getvalue()


def test_a_suspended_job_does_not_start(machine: Any) -> None:
    assert machine.run(SUCCEED, runPolicy={"suspend": True}) == STOPPED
    assert "spec.runPolicy.suspend is true" in machine.said.getvalue()
    assert not machine.output.exists()


def test_a_queue_does_not_hold_a_local_run(machine: Any) -> None:
    assert machine.run(SUCCEED, scheduling={"queue": "team-a"}) == 0


def test_variables_of_the_job_win_over_the_shells(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "red")
    monkeypatch.setenv("KEY", "from the shell")
    env = [
        {"name": "COLOUR", "value": "blue"},
        {"name": "SHADE", "value": "dark $(COLOUR)"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    assert machine.run(DUMP + SUCCEED, env=env) == 0
    (found,) = environments(machine, 1)
    assert (found["COLOUR"], found["SHADE"], found["KEY"]) == ("blue", "dark blue", "from the shell")
    assert "ABSENT" not in found
    assert "ABSENT comes from the cluster" in machine.said.getvalue()
