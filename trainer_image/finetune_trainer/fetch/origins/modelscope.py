"""ModelScope's hub. Protocol: modelscope_hub's `_legacy_api.py` (`list_repo_files`, `get_download_url`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import requests

from finetune_trainer.fetch.checksums import Checksum
from finetune_trainer.fetch.errors import AccessDenied, FetchError, SourceDown, SourceNotFound
from finetune_trainer.fetch.listing import File, Listing
from finetune_trainer.fetch.origins.asking import Asker, host, said
from finetune_trainer.fetch.origins.origin import Request, Token
from finetune_trainer.fetch.source import Source

_LIMIT = 3000
"""The server lists no more entries than these, and does not say that there are more."""
_COOKIE = "m_session_id"
"""Older parts of the hub read the token here."""


class ModelScope:
    """One model of the hub. It names no commit, so a revision is known by its files' checksums."""

    def __init__(self, source: Source, endpoint: str, token: str, asker: Asker) -> None:
        self._source = source
        self._endpoint = endpoint
        self._token = Token(token, _COOKIE)
        self._asker = asker
        self._revision = source.revision or "master"

    def listing(self) -> Listing:
        """All files, with their SHA-256.

        Raises:
            FetchError: there is no such model or revision, it may not be read, or the hub does not answer.
        """
        answer = self._asker.ask(
            self._url("repo/files", Revision=self._revision, Recursive="True"),
            self._token,
        )
        told = said(answer)
        if not answer.ok or not isinstance(told, Mapping) or not told.get("Success", True):
            raise self._refused(answer, "")
        try:
            entries = told["Data"]["Files"] or []
            files = tuple(_file(entry) for entry in entries if entry["Type"] != "tree")
        except (KeyError, TypeError, ValueError) as error:
            raise SourceDown(
                f"{self._source}: {self._endpoint} does not answer as ModelScope does; see MODELSCOPE_ENDPOINT"
            ) from error
        if len(entries) >= _LIMIT:
            raise FetchError(
                f"{self._source}: has {_LIMIT} files or more, and ModelScope lists no more than that; fetch it with"
                " the program modelscope, and write the folder's path as model_name_or_path"
            )
        return Listing(revision=None, files=files)

    def examined(self, files: Sequence[File]) -> tuple[File, ...]:
        """The listing told all."""
        return tuple(files)

    def request(self, file: File) -> Request:
        """A branch may move meanwhile; the checksum tells."""
        return Request(url=self._url("repo", Revision=self._revision, FilePath=file.name), auth=self._token)

    def refusal(self, answer: requests.Response, file: File) -> FetchError:
        """The hub's words, and what to do."""
        return self._refused(answer, f": {file.name}")

    def _url(self, path: str, **query: str) -> str:
        return f"{self._endpoint}/api/v1/models/{self._source.where}/{path}?{urlencode(query)}"

    def _refused(self, answer: requests.Response, what: str) -> FetchError:
        told = said(answer)
        words = str(told.get("Message") or answer.reason) if isinstance(told, Mapping) else answer.reason
        where = f"{self._source}{what}"
        if answer.status_code in (401, 403):
            has_token = "is wrong, or its owner may not read it" if self._token.value else "is needed, and is not set"
            return AccessDenied(f"{where}: MODELSCOPE_API_TOKEN {has_token} ({words})")
        if answer.status_code == 404:
            return SourceNotFound(
                f"{where}: {host(self._endpoint)} has no such model or no revision {self._revision!r}, or it is"
                f" private ({words})"
            )
        return FetchError(f"{where}: {host(self._endpoint)} answers {answer.status_code} {words}")


def _file(told: Mapping[str, Any]) -> File:
    value = told.get("Sha256")
    return File(
        name=str(told["Path"]),
        size=int(told["Size"]),
        checksum=Checksum("sha256", str(value)) if value else None,
    )
