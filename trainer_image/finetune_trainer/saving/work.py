"""One rank's part of one checkpoint, written by a thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

Job = Callable[[], None]

_NICE = 10
"""How far a writing thread steps back behind those that compute."""


class Work:
    """Jobs in their order, the first failure kept. Holds what the jobs hold until they are done."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        self.error: Exception | None = None
        self.seconds = 0.0
        """How long they took; after their end."""
        self._thread = threading.Thread(target=self._run, name="checkpoint")
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether they have ended, well or not."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Until they have ended."""
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        with suppress(OSError, AttributeError):  # elsewhere than on Linux threads have no priority of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            while self._jobs:
                self._jobs.pop(0)()
        except Exception as error:  # told by the main thread, at a step's end
            self.error = error
            self._jobs.clear()
        self.seconds = time.monotonic() - started
