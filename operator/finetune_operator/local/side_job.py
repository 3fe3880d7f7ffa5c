"""The Job that prepares or exports as a process: start, look, stop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from finetune_operator.local import environment
from finetune_operator.local.left import left
from finetune_operator.local.processes import PROGRAM, command
from finetune_operator.observe import ObservedJob, Told
from finetune_operator.render import Manifest
from finetune_trainer.records import ENV_RUN_DIR, ENV_TERMINATION_LOG, PROGRESS_FILE, Progress

STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SideProcess(Generic[Told]):
    """One process; what can't be done at once is not tried again, a person sits here."""

    name: str
    hash: str
    folder: Path
    record: type[Told]
    """What it leaves."""
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        """Standard output and error."""
        return _log(self.folder)

    def observe(self) -> ObservedJob[Told]:
        """As the cluster's children would show it."""
        code = self.process.poll()
        if code is None:
            return ObservedJob(name=self.name, hash=self.hash)
        return ObservedJob(
            name=self.name,
            hash=self.hash,
            phase="Failed" if code else "Complete",
            message=f"it ended with exit code {code}; see {self.log}",
            found=left(self.record, _message(self.folder)),
        )

    def progress(self) -> Progress | None:
        """What it wrote last."""
        return left(Progress, self.folder / PROGRESS_FILE)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(
    job: Manifest, folder: Path, record: type[Told], program: Sequence[str] = PROGRAM, *, told: str = ""
) -> SideProcess[Told]:
    """Process 1 of the Job's pod, with the rendered command and environment; `told`: a hash of what it is told."""
    folder.mkdir(parents=True, exist_ok=True)
    container = environment.trainer(job["spec"]["template"])
    ours = {ENV_RUN_DIR: str(folder), ENV_TERMINATION_LOG: str(_message(folder))}
    with _log(folder).open("wb") as log:
        process = subprocess.Popen(
            command(container, program),
            env={**environment.of_container(container, os.environ), **ours},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return SideProcess(name=job["metadata"]["name"], hash=told, folder=folder, record=record, process=process)


def _message(folder: Path) -> Path:
    return folder / "message.json"


def _log(folder: Path) -> Path:
    return folder / f"{folder.name}.log"
