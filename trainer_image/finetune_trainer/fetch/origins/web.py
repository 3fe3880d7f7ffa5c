"""A folder of a web server, listed by SHA256SUMS as `sha256sum` writes it, or by the server's own page of links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests

from finetune_trainer.fetch.checksums import Checksum
from finetune_trainer.fetch.errors import AccessDenied, FetchError, SourceInvalid, SourceNotFound
from finetune_trainer.fetch.listing import File, Listing
from finetune_trainer.fetch.origins.asking import Asker
from finetune_trainer.fetch.origins.origin import Request
from finetune_trainer.fetch.source import Source

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")
_MAKE = f"in that folder, run find . -type f ! -name {SUMS} -exec sha256sum {{}} + > {SUMS}"
_DEPTH = 4
"""Of folders in a page of links: a server may link in circles."""


class Web:
    """One folder."""

    def __init__(self, source: Source, asker: Asker) -> None:
        self._source = source
        self._asker = asker
        self._base = f"{source.kind}://{quote(source.where, safe='/:%')}/"

    def listing(self) -> Listing:
        """Files with checksums where there is a SHA256SUMS; sizes are asked for later.

        Raises:
            FetchError: there is no such folder, it may not be read, or nobody answers.
        """
        sums = self._asker.ask(self._base + SUMS, None)
        if sums.ok:
            return Listing(revision=None, files=tuple(self._sums(sums.text)))
        if sums.status_code != 404:
            raise self._refused(sums, SUMS)
        names = sorted(set(self._links(self._base, _DEPTH)))
        if not names:
            raise SourceNotFound(f"{self._source}: has no {SUMS} and no page that links to files; {_MAKE}")
        return Listing(revision=None, files=tuple(File(name=name, size=-1) for name in names))

    def examined(self, files: Sequence[File]) -> tuple[File, ...]:
        """With the sizes that the server tells."""
        return tuple(map(self._examined, files))

    def request(self, file: File) -> Request:
        """As it is."""
        return Request(url=self._base + quote(file.name))

    def refusal(self, answer: requests.Response, file: File) -> FetchError:
        """What the status says."""
        return self._refused(answer, file.name)

    def _examined(self, file: File) -> File:
        answer = self._asker.ask(self._base + quote(file.name), None, method="HEAD")
        if not answer.ok:
            raise self._refused(answer, file.name)
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise FetchError(
                f"{self._source}: the server does not say how large {file.name} is (Content-Length); let it serve"
                " files as they are"
            )
        return File(name=file.name, size=int(length), checksum=file.checksum, validator=validator(answer))

    def _sums(self, text: str) -> Iterator[File]:
        for number, line in enumerate(text.splitlines(), 1):
            match = _LINE.fullmatch(line)
            if match is None and line.strip():
                raise SourceInvalid(f"{self._source}: {SUMS}:{number}: no checksum and name; {_MAKE}")
            if match is not None and match[2] != SUMS:
                yield File(name=match[2], size=-1, checksum=Checksum("sha256", match[1].lower()))

    def _links(self, page: str, depth: int) -> Iterator[str]:
        answer = self._asker.ask(page, None)
        if not answer.ok:
            raise self._refused(answer, "")
        if "html" not in answer.headers.get("Content-Type", ""):
            return
        for link in _below(page, answer.text):
            if not link.endswith("/"):
                yield unquote(link.removeprefix(self._base))
            elif depth:
                yield from self._links(link, depth - 1)

    def _refused(self, answer: requests.Response, name: str) -> FetchError:
        where = f"{self._source}: {name}" if name else str(self._source)
        if answer.status_code in (401, 403):
            return AccessDenied(
                f"{where}: the server refuses it ({answer.status_code}); write machine, login and password into a"
                " netrc file, and the file's name into NETRC"
            )
        if answer.status_code in (404, 410):
            return SourceNotFound(f"{where}: is not there")
        return FetchError(f"{where}: the server answers {answer.status_code} {answer.reason}")


def validator(answer: requests.Response) -> str | None:
    """By what the server knows this content: a strong ETag, else its date (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _below(page: str, text: str) -> list[str]:
    """Links of a page that lead deeper; those with a query sort the page, those upwards leave it."""
    parser = _Links()
    parser.feed(text)
    links = (urljoin(page, link) for link in parser.found)
    return [link for link in links if link.startswith(page) and link != page and not urlsplit(link).query]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
