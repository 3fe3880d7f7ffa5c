"""A reward server: texts go there, and one score for each comes back.

Law: knows HTTP and nothing of training. The protocol is LLaMA-Factory's (`get_rewards_from_server` in
train/ppo/ppo_utils.py): POST {"model": "model", "messages": [text, ...]}, answered by {"scores": [number, ...]}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import requests

from finetune_trainer import http_session
from finetune_trainer.failures import RunError


class RewardServerDown(RunError):
    """The server does not answer, or says that it can't now. Another attempt may find it well."""

    reason = "RewardServerDown"
    retryable = True


class RewardServerWrong(RunError):
    """The server answers something else than one score for each text."""

    reason = "RewardServerWrong"


class RewardServer:
    """A server at a URL; asked again a few times while it can't be reached or says 429, 500, 502, 503 or 504."""

    def __init__(self, url: str, *, timeout: float = 600.0, attempts: int = 5, backoff: float = 1.0) -> None:
        """Prepare.

        Args:
            url: complete, as it is posted to.
            timeout: seconds to wait for an answer; to be reached, it has 10.
            attempts: how often it is asked.
            backoff: seconds before the third attempt, twice as many before each further one.
        """
        self._url = url
        self._timeout = timeout
        self._session = http_session.session(attempts=attempts, backoff=backoff)

    def scores(self, texts: Sequence[str]) -> list[float]:
        """One finite score for each text.

        Raises:
            RewardServerDown: it could not be reached, or kept on failing.
            RewardServerWrong: it answered something else.
        """
        try:
            payload = {"model": "model", "messages": list(texts)}
            answer = self._session.post(self._url, json=payload, timeout=(10.0, self._timeout))
        except requests.RequestException as error:
            raise RewardServerDown(f"reward_model: no answer from {self._url}: {http_session.cause(error)}") from error
        if not answer.ok:
            raise RewardServerWrong(f"reward_model: {self._url} answers {answer.status_code} {answer.reason}")
        return self._read(answer, len(texts))

    def _read(self, answer: requests.Response, wanted: int) -> list[float]:
        try:
            said: Any = answer.json()
        except requests.JSONDecodeError as error:
            raise self._wrong(f"this is no JSON: {answer.text[:100]!r}") from error
        scores = said.get("scores") if isinstance(said, dict) else None
        if not isinstance(scores, list) or not all(map(_is_score, scores)):
            raise self._wrong(f'expected {{"scores": [number, ...]}}, got {answer.text[:100]!r}')
        if len(scores) != wanted:
            raise self._wrong(f"{len(scores)} scores for {wanted} texts")
        return [float(score) for score in scores]

    def _wrong(self, what: str) -> RewardServerWrong:
        return RewardServerWrong(f"reward_model: what {self._url} answers is not to be used: {what}")


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
