"""Signals as something to wait for."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP = (signal.SIGTERM, signal.SIGINT)

Wait = Callable[[float], int]


@contextmanager
def awaited() -> Iterator[Wait]:
    """Inside the `with`, SIGTERM, SIGINT and SIGCHLD end a wait; nothing runs at an arbitrary line.

    Process 1 of a container gets only signals that it has a handler for, so the handlers are there but empty;
    `exec` takes them off, so the launcher starts with the defaults.

    Yields:
        `wait(seconds)`: until a signal comes or the time is over; how many wishes to stop came.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)

    def wait(seconds: float) -> int:
        ready, _, _ = select.select([read], [], [], seconds)
        return sum(byte in STOP for byte in os.read(read, 4096)) if ready else 0

    before = {number: signal.signal(number, lambda *_: None) for number in (*STOP, signal.SIGCHLD)}
    fd_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield wait
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
