"""The launcher and everything below it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import IO

import psutil  # type: ignore[import-untyped]

from finetune_trainer.supervise.logtail import LogTail

_PR_SET_CHILD_SUBREAPER = 36


class Launcher:
    """A running launcher in a session of its own; its output goes through to ours, its last lines are kept.

    The ranks need not be in the launcher's process group (torchrun gives each a session), so the end is not a
    group's but the whole tree's: this process adopts orphans, as process 1 does anyway, and kills until none is left.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        _adopt_orphans()
        self.tail = LogTail()
        self._process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._pump = Thread(target=self._pass_output_on, args=[self._process.stdout], name="log", daemon=True)
        self._pump.start()

    def _pass_output_on(self, output: IO[bytes]) -> None:
        while chunk := os.read(output.fileno(), 1 << 16):
            self.tail.feed(chunk)
            with suppress(OSError):  # nobody reads our log any more: the run goes on
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    def reap(self) -> int | None:
        """Bury every dead child; the launcher's exit code (negative: the signal) once it is dead.

        Popen.poll would lose its child to the general wait of a process 1, so the code is set here.
        """
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._process.pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def terminate(self) -> None:
        """SIGTERM to the launcher's group: torchrun passes it on, DeepSpeed's runner does not."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def below(self) -> list[psutil.Process]:
        """The launcher and everything below it."""
        return list(psutil.Process().children(recursive=True))

    def kill(self, seconds: float = 10.0) -> int:
        """SIGKILL to everything below this process, until it is gone; the launcher's exit code."""
        deadline = time.monotonic() + seconds
        while (below := self.below()) and time.monotonic() < deadline:
            for process in below:
                with suppress(psutil.Error):
                    process.kill()
            self.reap()
            time.sleep(0.02)
        self._pump.join(timeout=2.0)
        code = self.reap()
        return -signal.SIGKILL if code is None else code


def _adopt_orphans() -> None:
    """Become the parent of orphaned grandchildren, as process 1 of a container is without asking (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
