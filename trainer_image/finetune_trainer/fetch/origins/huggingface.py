"""Hugging Face's hub, or a mirror of it at HF_ENDPOINT.

By its HTTP API, not huggingface_hub: that one compares sizes, never a file's SHA-256, and asks through a second HTTP
library with other variables for proxies and certificates. Protocol: huggingface_hub's `HfApi.model_info` (files with
`blobs=true`), `hf_hub_url` and `hf_raise_for_status`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import requests

from finetune_trainer.fetch.checksums import Checksum
from finetune_trainer.fetch.errors import AccessDenied, FetchError, SourceDown, SourceNotFound
from finetune_trainer.fetch.listing import File, Listing
from finetune_trainer.fetch.origins.asking import Asker, host, said
from finetune_trainer.fetch.origins.origin import Request, Token
from finetune_trainer.fetch.source import Source

_TOKENS = "https://huggingface.co/settings/tokens"
COMMIT = re.compile(r"[0-9a-f]{40}")


class HuggingFace:
    """One model of the hub."""

    def __init__(self, source: Source, endpoint: str, token: str, asker: Asker) -> None:
        self._source = source
        self._endpoint = endpoint
        self._token = Token(token)
        self._asker = asker
        self._commit = source.revision or "main"

    def listing(self) -> Listing:
        """Files of the commit that the revision stands for; Git's checksum for small ones, SHA-256 for large ones.

        Raises:
            FetchError: there is no such model or revision, it may not be read, or the hub does not answer.
        """
        url = f"{self._endpoint}/api/models/{self._source.where}/revision/{quote(self._commit, safe='')}"
        answer = self._asker.ask(url, self._token, params={"blobs": "true"})
        if not answer.ok:
            raise self._refused(answer, "")
        told = said(answer)
        try:
            commit = str(told["sha"])
            files = tuple(map(_file, told["siblings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._no_hub() from error
        if not COMMIT.fullmatch(commit):
            raise self._no_hub()
        self._commit = commit
        return Listing(revision=commit, files=files)

    def examined(self, files: Sequence[File]) -> tuple[File, ...]:
        """The listing told all."""
        return tuple(files)

    def request(self, file: File) -> Request:
        """From the commit, whatever has become of the branch."""
        url = f"{self._endpoint}/{self._source.where}/resolve/{self._commit}/{quote(file.name)}"
        return Request(url=url, auth=self._token)

    def refusal(self, answer: requests.Response, file: File) -> FetchError:
        """A gated model lists its files for everybody, and refuses them one by one."""
        return self._refused(answer, f": {file.name}")

    def _refused(self, answer: requests.Response, what: str) -> FetchError:
        code, words = answer.headers.get("X-Error-Code", ""), answer.headers.get("X-Error-Message", "")
        where, status = f"{self._source}{what}", answer.status_code
        if status == 401 and self._token.value and "invalid" in words.lower():
            return AccessDenied(f"{self._source}: HF_TOKEN is wrong or has expired; make one at {_TOKENS}")
        if code == "GatedRepo":
            return self._gated()
        if code == "RevisionNotFound":
            return SourceNotFound(f"{self._source}: the model has no revision {self._commit!r}; see {self._page}")
        if code == "RepoNotFound" or (status in (401, 404) and not code):
            who = "the owner of HF_TOKEN may not read it" if self._token.value else "it is private and needs HF_TOKEN"
            return SourceNotFound(f"{where}: {host(self._endpoint)} has no such model, or {who}")
        kind = {401: AccessDenied, 403: AccessDenied, 404: SourceNotFound}.get(status, FetchError)
        return kind(f"{where}: {host(self._endpoint)} answers {status} {words or answer.reason}")

    def _gated(self) -> AccessDenied:
        has_token = "the owner of HF_TOKEN has none yet" if self._token.value else "and HF_TOKEN is not set"
        return AccessDenied(f"{self._source}: needs its authors' permission, {has_token}; ask for it at {self._page}")

    @property
    def _page(self) -> str:
        return f"{self._endpoint}/{self._source.where}"

    def _no_hub(self) -> FetchError:
        return SourceDown(f"{self._source}: {self._endpoint} does not answer as a hub does; see HF_ENDPOINT")


def _file(told: Mapping[str, Any]) -> File:
    large = told.get("lfs")
    if large:
        checksum = Checksum("sha256", str(large["sha256"]))
        return File(name=str(told["rfilename"]), size=int(large["size"]), checksum=checksum)
    checksum = Checksum("git-blob", str(told["blobId"]))
    return File(name=str(told["rfilename"]), size=int(told["size"]), checksum=checksum)
