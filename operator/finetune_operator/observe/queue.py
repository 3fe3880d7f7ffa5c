"""Kueue's Workloads and the places in its queues -> ObservedQueue, by the uid of the PyTorchJob that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.observe.types import ObservedQueue

Raw = dict[str, Any]


def of(workloads: Iterable[Raw], pending: Iterable[Raw]) -> dict[str, ObservedQueue]:
    """What Kueue says of each PyTorchJob; a Workload that none of them owns is left out."""
    places = {one["metadata"]["name"]: one for one in pending}
    found = {}
    for raw in workloads:
        uid = raw["metadata"].get("labels", {}).get(names.LABEL_QUEUED_UID)
        if any(owner["uid"] == uid for owner in raw["metadata"].get("ownerReferences", [])):
            found[uid] = _queue(raw, places.get(raw["metadata"]["name"], {}))
    return found


def _queue(raw: Raw, place: Raw) -> ObservedQueue:
    status = raw.get("status", {})
    said = {one["type"]: one for one in status.get("conditions", [])}
    admission = status.get("admission") or {}
    waiting, admitted = said.get("QuotaReserved", {}), said.get("Admitted", {})
    common: dict[str, Any] = {
        "workload": raw["metadata"]["name"],
        "queue": raw.get("spec", {}).get("queueName", ""),
        "cluster_queue": admission.get("clusterQueue"),
        "flavors": _flavors(admission),
        "position": _from_one(place, "positionInLocalQueue"),
        "position_in_cluster_queue": _from_one(place, "positionInClusterQueue"),
    }
    if _is_true(said, "Evicted"):
        evicted = said["Evicted"]
        waits = "" if _is_true(said, "QuotaReserved") else waiting.get("message", "")
        waits = "" if waits == evicted.get("message", "") else waits
        told = {"reason": evicted.get("reason", ""), "message": evicted.get("message", ""), "waits": waits}
        return ObservedQueue(state="Evicted", **told, **common)
    if _is_true(said, "Admitted"):
        return ObservedQueue(state="Admitted", admission=admitted.get("lastTransitionTime"), **common)
    if _is_true(said, "QuotaReserved"):
        message = admitted.get("message") or "it waits for its admission checks"
        return ObservedQueue(state="Reserved", reason=admitted.get("reason", ""), message=message, **common)
    told = {"reason": waiting.get("reason", ""), "message": waiting.get("message", "")}
    return ObservedQueue(state="Waiting", **told, **common)


def _is_true(said: Mapping[str, Raw], kind: str) -> bool:
    return bool(said.get(kind, {}).get("status") == "True")


def _flavors(admission: Raw) -> tuple[str, ...]:
    """The names of all flavors that its pods were given, each once."""
    assigned = (one.get("flavors") or {} for one in admission.get("podSetAssignments", []))
    return tuple(sorted({flavor for flavors in assigned for flavor in flavors.values()}))


def _from_one(place: Raw, key: str) -> int | None:
    """Kueue counts from 0, people from 1."""
    return int(place[key]) + 1 if key in place else None
