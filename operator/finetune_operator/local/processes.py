"""The pods of one attempt as processes: start, look, stop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from finetune_operator import names
from finetune_operator.local import environment
from finetune_operator.local.environment import Node
from finetune_operator.local.left import left
from finetune_operator.observe import ObservedAttempt, ObservedPod
from finetune_operator.plan import RunPlan
from finetune_operator.render import Manifest
from finetune_trainer.records import PROGRESS_FILE, Outcome, Progress

PROGRAM = (sys.executable, "-m", "finetune_trainer.cli")
"""What `finetune` is, without relying on PATH."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """A node and its process."""

    node: Node
    name: str
    process: subprocess.Popen[bytes]
    started: datetime

    def observe(self) -> ObservedPod:
        """As the kubelet would tell it: the outcome counts once the process has ended."""
        seen = ObservedPod(
            name=self.name,
            uid=str(self.process.pid),
            node_rank=self.node.rank,
            node="this machine",
            started=self.started,
        )
        code = self.process.poll()
        if code is None:
            return replace(seen, phase="Running", running=True)
        # A process that a signal ended has a negative code; a container's is 128 and the signal.
        code = code if code >= 0 else 128 - code
        phase, word = ("Failed", "Error") if code else ("Succeeded", "Completed")
        return replace(
            seen,
            phase=phase,
            terminated=word,
            exit_code=code,
            outcome=left(Outcome, self.node.termination_log),
            message=self.tail(),
        )

    def tail(self, size: int = 2000) -> str:
        """The log's last lines, as terminationMessagePolicy FallbackToLogsOnError would keep them."""
        with self.node.log.open("rb") as file:
            file.seek(max(0, self.node.log.stat().st_size - size))
            return file.read().decode(errors="replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """All processes of one attempt."""

    number: int
    created: datetime
    pods: tuple[Pod, ...]

    def observe(self) -> ObservedAttempt:
        """As the cluster's children would show it."""
        pods = tuple(pod.observe() for pod in self.pods)
        return ObservedAttempt(
            number=self.number, created=self.created, started=self.created, exists=True, phase=_phase(pods), pods=pods
        )

    def progress(self) -> Progress | None:
        """What rank 0 wrote last."""
        return left(Progress, self.pods[0].node.run_dir / PROGRESS_FILE)

    def is_alive(self) -> bool:
        """Whether any process still runs."""
        return any(pod.process.poll() is None for pod in self.pods)

    def wait(self, seconds: float, give_up: Callable[[], bool]) -> None:
        """Until all have ended, the time is over, or `give_up` says so."""
        end = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < end and not give_up():
            time.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        """SIGTERM, as the kubelet sends it: to process 1 of each pod."""
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.process.terminate()

    def kill(self) -> None:
        """SIGKILL, as the end of a container: to everything that still runs below process 1."""
        for pod in self.pods:
            for process in _family(pod.process.pid) if pod.process.poll() is None else ():
                _kill(process)
            pod.process.wait()


def start(plan: RunPlan, pytorchjob: Manifest, folder: Path, program: Sequence[str] = PROGRAM) -> Attempt:
    """One process for each pod, with the rendered command and the environment that it would have there."""
    port, now = _free_port(), datetime.now(UTC)
    gpus = plan.job.spec.resources.gpus_per_node
    nodes = [Node(rank=rank, gpus=gpus, folder=folder) for rank in range(environment.nodes(pytorchjob))]
    argv = command(environment.container(pytorchjob), program)
    pods = tuple(
        Pod(
            node=node,
            name=names.pod_name(plan.name, node.rank),
            process=_start(argv, node, environment.of(pytorchjob, node, port=port, shell=os.environ)),
            started=now,
        )
        for node in nodes
    )
    return Attempt(number=plan.attempt, created=now, pods=pods)


def _phase(pods: tuple[ObservedPod, ...]) -> str:
    """What the training operator would call it: one failed pod fails the job, the master's success ends it."""
    if any(pod.phase == "Failed" for pod in pods):
        return "Failed"
    return pods[0].phase


def command(container: Manifest, program: Sequence[str]) -> list[str]:
    """What a container starts, with `program` in the place of `finetune`."""
    argv: list[str] = [*container["command"], *container.get("args", [])]
    return [*program, *argv[1:]] if argv[0] == "finetune" else argv


def _start(command: Sequence[str], node: Node, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C on the terminal is ours to pass on, once."""
    node.run_dir.mkdir(parents=True, exist_ok=True)
    with node.log.open("wb") as log:
        return subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _family(pid: int) -> list[psutil.Process]:
    """A process and all below it, the youngest first; whatever session they are in."""
    try:
        process = psutil.Process(pid)
        return [*reversed(process.children(recursive=True)), process]
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
