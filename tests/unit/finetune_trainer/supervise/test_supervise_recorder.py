"""The collective flight recorder: torch's own over gloo, and NCCL's protocol of pipes with a stand-in that writes."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from supervised_pod import Pod

from finetune_trainer.supervise import launch, recorder
from finetune_trainer.supervise.recorder import Recording

RANKS = """
import subprocess
CODE = '''
import os, time
from pathlib import Path
import torch
from torch import distributed
from finetune_trainer import recorder
from finetune_trainer.context import Place, RunContext
rank, run_dir = int(os.environ["RANK"]), Path(os.environ["FINETUNE_RUN_DIR"])
context = RunContext(output_dir=run_dir, run_dir=run_dir, place=Place(rank=rank, local_rank=rank))
with recorder.answering(context):
    distributed.init_process_group("gloo", init_method=f"file://{run_dir}/world", rank=rank, world_size=2)
    distributed.all_reduce(torch.ones(3))
    (run_dir / f"ready-{rank}").touch()
    if rank == 1:
        time.sleep(600)
    distributed.all_reduce(torch.ones(5))
'''
for rank in (0, 1):
    subprocess.Popen([sys.executable, "-c", CODE], env={**os.environ, "RANK": str(rank)})
while len(list(run_dir.glob("ready-*"))) < 2: time.sleep(0.05)
for rank in (0, 1):
    beat(rank, step=4)
time.sleep(1)
for rank in (0, 1):
    beat(rank, step=5)
time.sleep(600)
"""


def test_ranks_that_hang_tell(pod: Pod) -> None:
    """A real hang in gloo: rank 0 waits in a collective that rank 1 has not called."""
    pod.configure(processes_per_node=2, hang_timeout_seconds=2, gpus_per_node=2)
    _, outcome = pod.outcome(RANKS, PET_NPROC_PER_NODE="2")
    assert outcome.reason == "Hang"
    files = "collectives-3-rank0.json, nccl-3-rank0, collectives-3-rank1.json, nccl-3-rank1"
    assert outcome.message.endswith(f"; the last collectives are in .finetune/: {files}")
    trace = pickle.loads((pod.output / ".finetune" / "nccl-3-rank0").read_bytes())
    assert "version" in trace, "NCCL's recorder is asked too, which knows of no collective here"
    called = []
    for rank in (0, 1):
        text = (pod.output / ".finetune" / f"collectives-3-rank{rank}.json").read_text()
        entries = json.loads(text)["entries"]
        called.append([(entry["profiling_name"], entry["input_sizes"]) for entry in entries])
    assert called[1] == [("gloo:all_reduce", [[3]])]
    assert called[0] == [("gloo:all_reduce", [[3]]), ("gloo:all_reduce", [[5]])]


STAND_IN = """
import os, sys, time
from pathlib import Path
pipe, dump = Path(sys.argv[1]), Path(sys.argv[2])
os.mkfifo(pipe, 0o666)
descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
print("opened", flush=True)
while not os.read(descriptor, 128): time.sleep(0.1)
with dump.open("wb") as stream:
    for part in (b"first ", b"second"):
        stream.write(part)
        stream.flush()
        time.sleep(0.3)
time.sleep(600)
"""
"""NCCL's monitor thread, as ProcessGroupNCCL.hpp's DumpPipe has it: what is tested is our side of the protocol.

No NCCL ran here.
"""


def test_a_pipe_that_is_read_gives_a_whole_dump(tmp_path: Path) -> None:
    files = [str(tmp_path / "nccl-5.pipe"), str(tmp_path / "nccl-trace-5")]
    with subprocess.Popen([sys.executable, "-c", STAND_IN, *files], stdout=subprocess.PIPE) as rank:
        assert rank.stdout is not None
        assert rank.stdout.readline() == b"opened\n"
        assert recorder.take(tmp_path, {0: 5}, gpu=True) == ()
        assert recorder.dumped(tmp_path) == (Recording(rank=5, nccl=True, content=b"first second"),)
        rank.kill()


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "nccl-5.pipe")
    recorder.poke(tmp_path, [5, 6])
    assert recorder.dumped(tmp_path) == ()


def test_what_nccl_dumps_before_it_ends_a_rank_is_kept(pod: Pod) -> None:
    _, outcome = pod.outcome('(run_dir / "nccl-trace-0").write_bytes(b"a pickle")\nsys.exit(1)')
    assert outcome.reason == "Crashed"
    assert (pod.output / ".finetune" / "nccl-3-rank0").read_bytes() == b"a pickle"


def test_ranks_with_gpus_get_the_variables_unless_the_pod_says_them(pod: Pod) -> None:
    at_home = launch.Pod.from_environment(pod.environment)
    pod.configure(gpus_per_node=1)
    ranks = launch.environment_of_ranks(pod.spec, at_home, {"TORCH_FR_BUFFER_SIZE": "10"})
    assert (ranks["TORCH_FR_BUFFER_SIZE"], ranks["TORCH_NCCL_DUMP_ON_TIMEOUT"]) == ("10", "1")
    assert ranks["TORCH_NCCL_DEBUG_INFO_PIPE_FILE"] == f"{pod.run}/nccl-"
    assert ranks["TORCH_FR_DUMP_TEMP_FILE"] == ranks["TORCH_NCCL_DEBUG_INFO_TEMP_FILE"] == f"{pod.run}/nccl-trace-"
    pod.configure(gpus_per_node=0)
    ranks = launch.environment_of_ranks(pod.spec, at_home, {})
    assert [name for name in ranks if "NCCL" in name] == []


def test_what_an_earlier_run_dumped_is_gone_before_the_next(pod: Pod) -> None:
    pod.run.mkdir()
    (pod.run / "nccl-trace-0").write_bytes(b"of another run")
    pod.outcome("sys.exit(1)")
    assert not list((pod.output / ".finetune").glob("nccl-*"))


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 500 no\r\n\r\n"])
def test_a_socket_that_nobody_answers_at_gives_nothing(tmp_path: Path, content: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "recorder-0.sock"))
        server.listen()
        if content:
            code = f"import socket,sys; s=socket.socket(fileno=0); c,_=s.accept(); c.recv(999); c.sendall({content!r})"
            with subprocess.Popen([sys.executable, "-c", code], stdin=server.fileno()):
                assert recorder.take(tmp_path, {0: 0}, gpu=False) == ()
        else:
            assert recorder.take(tmp_path, {0: 0}, gpu=False) == ()
