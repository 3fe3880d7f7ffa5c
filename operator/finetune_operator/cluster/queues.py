"""What Kueue knows of PyTorchJobs that wait in a queue; asked only for these, so that no other job pays for it.

Read after the pods, not beside them: Kueue writes an eviction down before pods go, so that a view in which pods are
going has the eviction too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from finetune_operator import names
from finetune_operator.cluster import paths
from finetune_operator.cluster.errors import ClusterError, ClusterRefused, NotFound
from finetune_operator.cluster.protocol import Raw
from finetune_operator.observe import RawChildren


class Request(Protocol):
    """One call of the API server; see `client.KubernetesCluster`."""

    def __call__(self, method: str, path: str, *, query: list[tuple[str, str]] = ...) -> Awaitable[Raw]:
        """Raises `ClusterError`."""


async def told(children: RawChildren, namespace: str, request: Request) -> RawChildren:
    """The children, and with them the Workloads of those PyTorchJobs that carry a queue, and their places in it.

    Raises:
        ClusterError: the API server did not answer. That it knows no Workloads, or does not show them, is no error.
    """
    uids = [raw["metadata"]["uid"] for raw in children.pytorchjobs if _queue(raw) is not None]
    if not uids:
        return children
    selector = ("labelSelector", f"{names.LABEL_QUEUED_UID} in ({','.join(uids)})")
    try:
        answer = await request("GET", paths.of("Workload", namespace), query=[selector])
    except NotFound:
        said = f"Kueue is not installed: the API server knows no workloads of {names.WORKLOAD_API_VERSION}"
        return replace(children, kueue_trouble=said)
    except ClusterRefused as error:
        return replace(children, kueue_trouble=str(error))
    held = [raw for raw in children.pytorchjobs if raw["spec"].get("runPolicy", {}).get("suspend")]
    wanted = {queue for raw in held if (queue := _queue(raw)) is not None}
    return replace(
        children, workloads=tuple(answer["items"] or ()), pending=await _pending(namespace, wanted, request)
    )


def _queue(raw: Raw) -> str | None:
    queue: str | None = raw["metadata"].get("labels", {}).get(names.LABEL_QUEUE)
    return queue


async def _pending(namespace: str, queues: Iterable[str], request: Request) -> tuple[dict[str, Any], ...]:
    """Who waits in these queues; empty where Kueue's own API server is not there: a place is a comfort, no need."""
    try:
        answers = await asyncio.gather(*(request("GET", paths.of_pending(namespace, queue)) for queue in queues))
    except ClusterError:
        return ()
    return tuple(one for answer in answers for one in answer["items"] or ())
