"""All raw children of one job -> Observed: whose they are, to which attempt they belong, how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from finetune_operator import names
from finetune_operator.observe import queue, side_job
from finetune_operator.observe.pods import node_rank, pod, timestamp
from finetune_operator.observe.types import (
    Frozen,
    Observed,
    ObservedAttempt,
    ObservedClaim,
    ObservedPod,
    ObservedQueue,
    Posted,
    RawChildren,
)
from finetune_trainer.records import Exported, Preparation

Raw = dict[str, Any]
Child = tuple[str, Raw]


def of(children: RawChildren, *, uid: str, posted: Posted | None = None) -> Observed:
    """What the cluster says about the job with this uid.

    A child of a deleted job of the same name is no attempt of ours: it is named in `foreign`.
    """
    ours, foreign = _sorted_out(children, uid)
    queues = queue.of(children.workloads, children.pending)
    attempts = tuple(_attempt(number, ours, queues) for number in sorted({_number(raw) for _, raw in ours} - {0}))
    frozen = _frozen(ours)
    return Observed(
        attempts=attempts,
        prepare=side_job.of(ours, role=names.ROLE_PREPARE, record=Preparation),
        export=side_job.of(ours, role=names.ROLE_EXPORT, record=Exported),
        frozen=frozen,
        claims={name: _claim(name, raw) for name, raw in children.claims.items()},
        progress=posted.progress if posted and _speaks(posted, uid, attempts, frozen) else None,
        kueue_trouble=children.kueue_trouble,
        foreign=tuple((kind, raw["metadata"]["name"]) for kind, raw in foreign),
    )


def _speaks(posted: Posted, uid: str, attempts: Sequence[ObservedAttempt], frozen: Frozen | None) -> bool:
    """Whether a post is of the newest attempt; before attempt 1, of the preparation.

    When all attempts are gone, what the preparation said long ago is no news.
    """
    newest = attempts[-1].number if attempts else 0
    return (posted.job_uid, posted.attempt) == (uid, newest) and (bool(attempts) or frozen is None)


def _sorted_out(children: RawChildren, uid: str) -> tuple[list[Child], list[Child]]:
    """(ours, another job's)."""
    parents = (*children.pytorchjobs, *children.jobs)
    owners = {uid} | {raw["metadata"]["uid"] for raw in parents if _belongs(raw, {uid})}
    sides: tuple[list[Child], list[Child]] = ([], [])
    for kind, raw in _each(children):
        sides[not _belongs(raw, owners)].append((kind, raw))
    return sides


def _each(children: RawChildren) -> Iterator[Child]:
    """Every child with its kind, in the order in which they may be deleted."""
    for kind, objects in (
        ("PyTorchJob", children.pytorchjobs),
        ("Job", children.jobs),
        ("Pod", children.pods),
        ("ConfigMap", children.configmaps),
    ):
        for raw in objects:
            yield kind, raw


def _belongs(raw: Raw, owners: Iterable[str]) -> bool:
    """By the label of the job's uid, which outlives an owner; by its owners where the label is missing."""
    labelled = raw["metadata"].get("labels", {}).get(names.LABEL_UID)
    if labelled is not None:
        return labelled in owners
    return any(owner["uid"] in owners for owner in raw["metadata"].get("ownerReferences", []))


def _number(raw: Raw) -> int:
    """The attempt that a child belongs to; 0 for what all attempts share."""
    label = raw["metadata"].get("labels", {}).get(names.LABEL_ATTEMPT, "")
    return int(label) if label.isdigit() else 0


def _attempt(number: int, ours: list[Child], queues: Mapping[str, ObservedQueue]) -> ObservedAttempt:
    members = [(kind, raw) for kind, raw in ours if _number(raw) == number]
    job = next((raw for kind, raw in members if kind == "PyTorchJob"), None)
    raw = job or {"metadata": {}}
    phase, message = _phase(raw.get("status", {}))
    return ObservedAttempt(
        number=number,
        created=timestamp(raw["metadata"].get("creationTimestamp")),
        exists=job is not None,
        uid=raw["metadata"].get("uid", ""),
        wanted=_wanted(raw),
        deleting="deletionTimestamp" in raw["metadata"],
        suspended=bool(raw.get("spec", {}).get("runPolicy", {}).get("suspend")),
        phase=phase,
        message=message,
        # A resumed job has the old start time until the training operator has looked at it.
        started=None if phase == "Suspended" else timestamp(raw.get("status", {}).get("startTime")),
        queue=queues.get(raw["metadata"].get("uid", "")),
        pods=tuple(sorted(_pods(members), key=lambda one: one.node_rank)),
        leftovers=tuple((kind, raw["metadata"]["name"]) for kind, raw in members),
    )


def _wanted(pytorchjob: Raw) -> int:
    """Its pods; an absent one wants none."""
    replicas: dict[str, Raw] = pytorchjob.get("spec", {}).get("pytorchReplicaSpecs", {})
    return sum(int(one.get("replicas", 1)) for one in replicas.values())


def _pods(members: list[Child]) -> Iterator[ObservedPod]:
    for kind, raw in members:
        rank = node_rank(raw) if kind == "Pod" else None
        if rank is not None:
            yield pod(raw, rank)


def _phase(status: Raw) -> tuple[str, str]:
    """(type, message) of the condition that counts: the end, if there is one, else the last that is True.

    The training operator puts a changed condition at the end of its list; Created stays True for ever.
    """
    true = [one for one in status.get("conditions", []) if one["status"] == "True"]
    ends = [one for one in true if one["type"] in {"Succeeded", "Failed"}]
    if not true:
        return "", ""
    chosen = (ends or true)[-1]
    return chosen["type"], chosen.get("message", "")


def _frozen(ours: list[Child]) -> Frozen | None:
    """What the config ConfigMap's annotations hold."""
    for kind, raw in ours:
        annotations = raw["metadata"].get("annotations", {})
        if kind == "ConfigMap" and names.ANNOTATION_SPEC_HASH in annotations:
            return Frozen(
                spec_hash=annotations[names.ANNOTATION_SPEC_HASH],
                contract=int(annotations[names.ANNOTATION_CONTRACT]),
                image=annotations[names.ANNOTATION_IMAGE],
                nodes=int(annotations[names.ANNOTATION_NODES]),
            )
    return None


def _claim(name: str, raw: Raw | None) -> ObservedClaim:
    """A bound claim's modes are the volume's; an unbound one's, what was asked for."""
    if raw is None:
        return ObservedClaim(name=name, found=False)
    modes = raw.get("status", {}).get("accessModes") or raw.get("spec", {}).get("accessModes", [])
    return ObservedClaim(name=name, found=True, access_modes=tuple(modes))
