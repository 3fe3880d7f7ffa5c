"""One process at a time fetches a folder, also where several nodes share the volume.

A lock file is made exclusively, and its holder touches it every few seconds. Those who wait open it anew each time,
so that NFS asks the server, and compare what they see with what they saw, by their own clock: nodes' clocks differ.
A file that stands still has a dead holder; who takes it over renames it first, which succeeds for one only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """In seconds."""

    beat: float = 5.0
    """Between two touches."""
    expires: float = 45.0
    """Without a touch the holder is dead; a few failed touches are not enough for that."""
    poll: float = 1.0
    """Between two looks of those who wait."""


class _Sight(NamedTuple):
    text: bytes
    touched: int


def _name() -> bytes:
    return f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Held by this process, as far as it knows."""

    path: Path
    pulse: Pulse
    name: bytes = field(default_factory=_name)
    lost: Event = field(default_factory=Event)
    """Another process took over: stop writing."""
    _over: Event = field(default_factory=Event)

    def keep(self) -> None:
        """Touch the file until the lease is over; the body of a thread."""
        seen = time.monotonic()
        while not self._over.wait(self.pulse.beat):
            try:
                if self.path.read_bytes() != self.name:
                    break
                os.utime(self.path)
                seen = time.monotonic()
            except FileNotFoundError:
                break
            except OSError:  # a file server that is away for a moment
                if time.monotonic() - seen > self.pulse.expires:
                    break
        else:
            return
        self.lost.set()

    def is_mine(self) -> bool:
        """Looked up, now."""
        try:
            return not self.lost.is_set() and self.path.read_bytes() == self.name
        except OSError:
            return False

    def end(self) -> None:
        """Give it back, if it is ours."""
        self._over.set()
        if self.is_mine():
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(
    path: Path, pulse: Pulse, *, is_done: Callable[[], bool], waiting: Callable[[], None]
) -> Iterator[Lease | None]:
    """The lease, once it can be had; None: `is_done` came true while another process held it.

    Args:
        path: of the lock file; its folder exists.
        pulse: how often, and how long.
        is_done: asked before each look.
        waiting: called after each look at somebody else's lock.

    Raises:
        OSError: the folder cannot be written.
    """
    lease = Lease(path=path, pulse=pulse)
    sight, since = None, time.monotonic()
    while not is_done():
        if _make(lease):
            with _kept(lease):
                yield None if is_done() else lease
            return
        now = _look(path)
        if now != sight:
            sight, since = now, time.monotonic()
        elif now is not None and time.monotonic() - since > pulse.expires:
            _break(path, now, lease)
            continue
        waiting()
        time.sleep(pulse.poll)
    yield None


@contextlib.contextmanager
def _kept(lease: Lease) -> Iterator[None]:
    thread = Thread(target=lease.keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        lease.end()
        thread.join()


def _make(lease: Lease) -> bool:
    try:
        with lease.path.open("xb") as stream:
            stream.write(lease.name)
    except FileExistsError:
        return False
    return True


def _look(path: Path) -> _Sight | None:
    try:
        with path.open("rb") as stream:
            return _Sight(stream.read(), os.fstat(stream.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


def _break(path: Path, dead: _Sight, lease: Lease) -> None:
    """Take a dead holder's file away. If it is another one's by now, it is given back; if that fails, its holder sees
    it at its next beat and ends.
    """
    grave = path.with_name(f"{path.name}.{lease.name.decode().rpartition(' ')[2]}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        if grave.read_bytes() != dead.text:
            with contextlib.suppress(OSError):
                os.link(grave, path)
        grave.unlink()
