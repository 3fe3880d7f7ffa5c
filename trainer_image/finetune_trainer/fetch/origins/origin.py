"""What the flow and the downloader ask of an origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import requests

from finetune_trainer.fetch.errors import FetchError
from finetune_trainer.fetch.listing import File, Listing

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """How one file is asked for, now: a signed URL is good for an hour."""

    url: str = field(repr=False)
    auth: Auth | None = None
    """None: `requests` may look into a netrc file."""


class Origin(Protocol):
    """One place that holds a model."""

    def listing(self) -> Listing:
        """What there is.

        Raises:
            FetchError: there is no such model, it may not be read, or nobody answers.
        """

    def examined(self, files: Sequence[File]) -> tuple[File, ...]:
        """The same files, with sizes and checksums that the listing did not tell.

        Raises:
            FetchError: as `listing`.
        """

    def request(self, file: File) -> Request:
        """How this file is asked for."""

    def refusal(self, answer: requests.Response, file: File) -> FetchError:
        """What an answer of 400 or above means."""


@dataclass(frozen=True, slots=True)
class Token:
    """Adds a token to a request. `requests` drops both headers where a redirect leads to another host or port."""

    value: str = field(repr=False)
    cookie: str = ""
    """Its name as a cookie, for a server that reads that."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Also without a token this is needed: else a netrc file would be sent to hubs."""
        if self.value:
            request.headers["Authorization"] = f"Bearer {self.value}"
            if self.cookie:
                request.headers["Cookie"] = f"{self.cookie}={self.value}"
        return request


def nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The URL is its own proof."""
    return request
