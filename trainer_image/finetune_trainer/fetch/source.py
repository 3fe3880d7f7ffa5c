"""Pure: how a source is spelt, and which folder of the cache it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from finetune_trainer.fetch.errors import SourceInvalid

Kind = Literal["hf", "ms", "s3", "http", "https"]
_SPELLINGS = "hf://org/name, ms://org/name, s3://bucket/prefix or https://host/path/"
_NAME = re.compile(r"[\w.][\w.-]*")
_ARCHIVE = re.compile(r"\.(tar|tgz|zip|7z|tar\.\w+)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A place that models are fetched from."""

    kind: Kind
    where: str
    """org/name, bucket/prefix, or host/path, without slashes at its ends."""
    revision: str | None = None
    """Branch, tag or commit of a hub; None: the one that the hub takes."""

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.kind}://{self.where}{at}"

    @property
    def folder(self) -> PurePosixPath:
        """Below the cache; a folder for each revision lies in it."""
        kind = "http" if self.kind == "https" else self.kind
        return PurePosixPath(kind, self.where.replace(":", "_"))


def parse(text: str) -> Source:
    """A source as people write it; `@revision` may follow a hub's name.

    Raises:
        SourceInvalid: it is misspelt, or is something that is not fetched.
    """
    scheme, found, rest = text.strip().partition("://")
    if not found or scheme not in _PARSERS:
        raise SourceInvalid(f"{_shown(text)}: {_INSTEAD.get(scheme if found else '', f'write {_SPELLINGS}')}")
    return _PARSERS[scheme](scheme, rest)


def _hub(scheme: str, rest: str) -> Source:
    where, _, revision = rest.partition("@")
    parts = where.strip("/").split("/")
    counts = (1, 2) if scheme == "hf" else (2,)
    if len(parts) not in counts or not all(_NAME.fullmatch(part) and part.strip(".") for part in parts):
        raise SourceInvalid(f"{scheme}://{rest}: write {scheme}://org/name or {scheme}://org/name@revision")
    if rest.endswith("@") or ".." in revision or re.search(r"[\s?#]", revision):
        raise SourceInvalid(
            f"{scheme}://{rest}: after @ comes a branch, a tag or a commit; leave @ out for the newest"
        )
    return Source(kind="hf" if scheme == "hf" else "ms", where="/".join(parts), revision=revision or None)


def _bucket(scheme: str, rest: str) -> Source:
    where = rest.strip("/")
    if "/" not in where or not _is_plain(where):
        raise SourceInvalid(f"{scheme}://{rest}: write s3://bucket/prefix, where prefix is the model's folder")
    return Source(kind="s3", where=where)


def _web(scheme: str, rest: str) -> Source:
    """A folder. An archive would need twice the room, and all of it anew when one byte is wrong."""
    url = urlsplit(f"{scheme}://{rest}")
    where = f"{url.netloc}/{url.path.strip('/')}".strip("/")
    if "@" in url.netloc:
        raise SourceInvalid(
            f"{_shown(f'{scheme}://{rest}')}: a source is no place for a password; write it into a netrc file, and the"
            " file's name into NETRC"
        )
    if url.query or url.fragment or not _is_plain(where):
        raise SourceInvalid(f"{scheme}://{where}: write the address of a folder, without ? and #")
    if _ARCHIVE.search(where):
        raise SourceInvalid(f"{scheme}://{where}: an archive; unpack it there, and write the address of the folder")
    return Source(kind="https" if scheme == "https" else "http", where=where)


def _is_plain(where: str) -> bool:
    return all(part and part.strip(".") for part in where.split("/")) and not re.search(r"[\s\\\0]", where)


def _shown(text: str) -> str:
    """Without what stands before the host's @, or after ?."""
    return re.sub(r"(?<=://)[^/@]*@", "", text).partition("?")[0]


_PARSERS: Mapping[str, Callable[[str, str], Source]] = {
    "hf": _hub,
    "ms": _hub,
    "s3": _bucket,
    "http": _web,
    "https": _web,
}
_INSTEAD: Mapping[str, str] = {
    "": f"no source that can be fetched; write {_SPELLINGS}",
    "pvc": "a volume is mounted, not fetched; write the path that it is mounted at as model_name_or_path",
    "file": "a path needs no fetching; write it as model_name_or_path",
    "gs": "write s3://bucket/prefix, set AWS_ENDPOINT_URL_S3 to https://storage.googleapis.com, and AWS_ACCESS_KEY_ID"
    " and AWS_SECRET_ACCESS_KEY to an HMAC key of Google's",
}
