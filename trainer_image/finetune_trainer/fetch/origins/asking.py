"""One question to a server, and its answer or a FetchError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from finetune_trainer import http_session
from finetune_trainer.fetch.errors import SourceDown
from finetune_trainer.fetch.origins.origin import Auth

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and between two pieces of an answer."""
PLAIN = {"Accept-Encoding": "identity"}
"""What is packed on the way has other sizes, and can't be continued."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks over a session that repeats what fails for a moment."""

    source: str
    session: requests.Session

    def ask(
        self,
        url: str,
        auth: Auth | None,
        *,
        method: str = "GET",
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """The answer, whatever its status.

        Raises:
            SourceDown: there is none.
        """
        try:
            return self.session.request(method, url, auth=auth, params=params, timeout=TIMEOUT, headers=PLAIN)
        except requests.RequestException as error:
            words = f"{self.source}: {host(url)} gives no answer: {http_session.cause(error)}"
            raise SourceDown(words) from error


def host(url: str) -> str:
    """A URL as far as it holds no secret and no path."""
    return "/".join(url.split("/")[:3])


def said(answer: requests.Response) -> Any:  # noqa: ANN401 - what a server says may be anything
    """Its JSON; None where it is none."""
    try:
        return answer.json()
    except requests.JSONDecodeError:
        return None
