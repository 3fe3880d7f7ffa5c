"""One file from a server to the disk: continued where it broke off, compared with its checksum, tried again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Self

import requests

from finetune_trainer import http_session
from finetune_trainer.fetch.errors import ChecksumWrong, SourceChanged, SourceDown
from finetune_trainer.fetch.listing import File
from finetune_trainer.fetch.marker import Fetched
from finetune_trainer.fetch.origins.asking import PLAIN, TIMEOUT, host
from finetune_trainer.fetch.origins.origin import Origin
from finetune_trainer.fetch.origins.web import validator
from finetune_trainer.fetch.part import Part, Wrong
from finetune_trainer.fetch.settings import Settings

_CHUNK = 1 << 18
"""Bytes; those of a chunk that was begun are lost when a connection breaks."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


Put = Callable[[str, int], None]
"""Told a file's name and its bytes so far."""


class Stopped(Exception):
    """Another file could not be fetched, or the whole fetch ends."""


class _Cut(Exception):
    """The connection ended in the middle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Downloader:
    """What all files of a fetch share."""

    source: str
    origin: Origin
    session: requests.Session
    folder: Path
    stop: Event
    """Set it to end all threads."""
    attempts: int
    """Connections in a row that bring nothing new, before a file is given up."""
    backoff: float
    """Seconds after the first such connection, twice as many after each further one."""

    @classmethod
    def of(cls, wanted: Fetched, origin: Origin, session: requests.Session, settings: Settings) -> Self:
        """For one folder."""
        return cls(
            source=wanted.source,
            origin=origin,
            session=session,
            folder=wanted.folder,
            stop=Event(),
            attempts=settings.attempts,
            backoff=settings.backoff,
        )

    def fetch(self, file: File, put: Put) -> None:
        """The file, complete and under its name. `put` is told its bytes so far.

        Raises:
            ChecksumWrong: twice, and nothing of it is left.
            SourceDown: the server went away; what came stays for the next attempt.
            FetchError: the server refuses the file, or has another one now.
            OSError: the disk.
            Stopped: `stop` was set.
        """
        with Part(self.folder, file) as part:
            for is_last in (False, True):
                self._fill(part, put)
                wrong = part.wrong()
                if wrong is None:
                    part.complete()
                    return
                part.restart()
                if is_last:
                    part.discard()
                    raise self._refuse(file, wrong)

    def _fill(self, part: Part, put: Put) -> None:
        """Connections, until all bytes are there."""
        best, failed = part.position, 0
        put(part.file.name, part.position)
        while part.position < part.file.size:
            why = "it ended early"
            try:
                if self._stream(part, put):
                    return
            except _Cut as cut:
                why = str(cut)
            failed = 0 if part.position > best else failed + 1
            best = max(best, part.position)
            if failed >= self.attempts:
                raise self._down(part, why)
            if failed and self.stop.wait(self.backoff * 2 ** (failed - 1)):
                raise Stopped

    def _stream(self, part: Part, put: Put) -> bool:
        """One connection. Whether the server says that this was all; it may be too little, or too much."""
        with self._ask(part) as answer:
            self._check(answer, part)
            try:
                for data in answer.iter_content(_CHUNK):
                    if self.stop.is_set():
                        raise Stopped
                    part.write(data)
                    put(part.file.name, part.position)
                    if part.position > part.file.size:
                        return True
            except requests.RequestException as error:
                raise _Cut(http_session.cause(error)) from error
            return "Content-Length" in answer.headers

    def _ask(self, part: Part) -> requests.Response:
        """The session has repeated a request that fails."""
        request = self.origin.request(part.file)
        try:
            return self.session.get(
                request.url, auth=request.auth, headers=_headers(part), stream=True, timeout=TIMEOUT
            )
        except requests.RequestException as error:
            raise self._down(part, f"{host(request.url)}: {http_session.cause(error)}") from error

    def _check(self, answer: requests.Response, part: Part) -> None:
        """Whether the answer holds the bytes that are missing; all of them anew is good too."""
        if answer.status_code == 416:
            part.restart()
            raise _Cut("it has no such range")
        if not answer.ok:
            raise self.origin.refusal(answer, part.file)
        now = validator(answer)
        if part.file.validator and now and now != part.file.validator:
            raise SourceChanged(
                f"{self.source}: {part.file.name} was replaced while it was being fetched; the next attempt takes the"
                " new files"
            )
        place = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if part.position and (answer.status_code != 206 or place is None or int(place[1]) != part.position):
            part.restart()
            if answer.status_code == 206:
                raise _Cut("it sends another range than it was asked for")

    def _down(self, part: Part, why: str) -> SourceDown:
        return SourceDown(
            f"{self.source}: {part.file.name}: the server went away {self.attempts} times in a row ({why});"
            f" {part.position} of {part.file.size} bytes are in the cache, and the next attempt goes on from there"
        )

    def _refuse(self, file: File, wrong: Wrong) -> ChecksumWrong:
        return ChecksumWrong(
            f"{self.source}: {file.name}: expected {wrong.expected}, found {wrong.found}, twice; nothing of it is"
            " kept. See whether the server, or a mirror or proxy before it, holds a broken copy"
        )


def _headers(part: Part) -> dict[str, str]:
    """The rest of a file, if it is still the same file; the listing's checksum speaks where there is no validator."""
    if not part.position:
        return PLAIN
    headers = PLAIN | {"Range": f"bytes={part.position}-"}
    return headers | {"If-Range": part.file.validator} if part.file.validator else headers
