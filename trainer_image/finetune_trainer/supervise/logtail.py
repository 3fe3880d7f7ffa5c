"""The last lines of a log that is passed through."""

from __future__ import annotations

from collections import deque
from threading import Lock


class LogTail:
    """Keeps the last lines of what is fed to it; a line that a progress bar rewrote counts once."""

    def __init__(self, lines: int = 120, width: int = 2000) -> None:
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._open = b""
        self._width = width
        self._lock = Lock()

    def feed(self, chunk: bytes) -> None:
        """Add bytes as they come; they may end anywhere."""
        with self._lock:
            *done, rest = (self._open + chunk).split(b"\n")
            self._lines.extend(self._shown(line) for line in done)
            self._open = self._shown(rest)

    def _shown(self, line: bytes) -> bytes:
        """What a terminal would show of a line, at most `width` bytes of its end."""
        return line[:-1].rpartition(b"\r")[2][-self._width :] + line[-1:]

    def text(self) -> str:
        """The lines so far, as text."""
        with self._lock:
            lines = deque(self._lines, maxlen=self._lines.maxlen)
            if self._open:
                lines.append(self._open)
        return "\n".join(line.decode(errors="replace").rstrip() for line in lines)
