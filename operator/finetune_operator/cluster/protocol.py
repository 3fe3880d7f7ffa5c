"""What the other rooms may ask of a cluster: the real one, or the fake one of the stories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from finetune_operator.names import Key
from finetune_operator.observe import RawChildren

Raw = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """The pod that a verified token was projected into."""

    namespace: str
    pod: str
    uid: str


class Cluster(Protocol):
    """Every method raises `ClusterError` where the API server does not do what it is asked."""

    async def job(self, key: Key) -> Raw | None:
        """The FineTuneJob as it is now; None where there is none."""

    async def jobs(self) -> list[tuple[Key, str]]:
        """Every FineTuneJob that this operator serves, with its resource version."""

    async def children(self, key: Key, claims: Iterable[str], *, live: bool = False) -> RawChildren:
        """What carries this job's label, and the named claims of its namespace.

        Unless `live`, children may be as the watches showed them last (`RawChildren.live` says it); never older than
        what we wrote ourselves.
        """

    async def apply(self, manifest: Raw) -> None:
        """Server-side apply, by force: every field of the manifest is ours afterwards.

        Raises:
            ClusterRefused: the API server or a webhook says no; the text is for people.
            WebhookUnavailable: the training operator's webhook does not answer.
        """

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete with all that the object owns, in the background. Gone already, or another uid: nothing to do."""

    async def write_status(self, key: Key, status: Raw, resource_version: str | None = None) -> None:
        """Replace status as a whole; with a resource version, only if nobody changed the job since."""

    async def warning(self, namespace: str, uid: str, reason: str) -> str:
        """The message of the newest Warning with this reason about an object; "" where none is known."""

    async def event(
        self,
        job: Raw,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002 - the API's own word
        *,
        once: str,
    ) -> None:
        """Tell people through `kubectl describe`, at best effort: a lost event is no error.

        `once` names what happened to this very job: told a second time, it is not told again.
        """

    async def review(self, token: str, audience: str) -> Speaker | None:
        """Who speaks: the pod that a token for this audience was made for; None for any other token."""
