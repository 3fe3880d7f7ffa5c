"""The API server's and the client's errors, translated once: what a pass can do about them, in words for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_REFUSALS = frozenset({400, 403, 422})
_SENDERS_PORT = re.compile(r":\d+->")
"""`read tcp 10.0.0.1:51234->10.0.0.2:443: reset` is another text each time, and each would be written to status."""


class ClusterError(Exception):
    """The API server did not do what it was asked; the same call may work later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the API server wants to be asked again, where it said so."""


class NotFound(ClusterError):
    """There is no such object, or no such kind."""


class ClusterRefused(ClusterError):
    """Asking again will not help by itself: a schema, a webhook, a quota or missing rights say no."""

    reason = "ApplyRefused"


class Conflict(ClusterError):
    """Somebody else wrote at the same moment."""


class WebhookUnavailable(ClusterError):
    """An admission webhook does not answer; for a PyTorchJob that is the training operator's."""

    reason = "WebhookUnavailable"


def from_response(status: int, payload: bytes, headers: Mapping[str, str], asked: str) -> ClusterError:
    """An HTTP answer of 400 or above as one of ours. `asked` names the call, e.g. `PATCH PyTorchJob team-a/x-1`."""
    reason = _SENDERS_PORT.sub("->", _message(payload)) or f"HTTP {status}"
    text = f"{asked}: {reason}"
    if status == 404:
        return NotFound(text)
    if "failed calling webhook" in reason:
        return WebhookUnavailable(text, retry_after=_retry_after(headers))
    if status in _REFUSALS:
        return ClusterRefused(text)
    if status == 409:
        return Conflict(text, retry_after=_retry_after(headers))
    return ClusterError(text, retry_after=_retry_after(headers))


def _message(payload: bytes) -> str:
    """The message of a metav1.Status, else the first line of whatever a proxy in between answered."""
    text = payload.decode(errors="replace").strip()
    try:
        answer = json.loads(text)
    except ValueError:
        return text.partition("\n")[0][:300]
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; the API server never sends the form with a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
