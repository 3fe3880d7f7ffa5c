"""What ranks say of themselves when they meet, and whether they may train together.

Law: pure but for `Member.of`, which looks at this process; joins nobody.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

import torch

from finetune_trainer.context import RunContext
from finetune_trainer.failures import WorldDiffers, WorldMixed

SOFTWARE = ("torch", "transformers", "accelerate", "peft", "trl", "deepspeed")
"""Packages of which one version on all ranks makes the same run of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """What a rank says of itself."""

    rank: int
    host: str
    attempt: int
    spec_hash: str
    gpu: str | None = None
    """The GPU's own number, by which two ranks that share it are known; None: the CPU."""
    software: Mapping[str, str] = field(default_factory=dict)
    """Package -> version."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Key of train.yaml -> a short name for its value."""

    @classmethod
    def of(cls, context: RunContext, keys: Mapping[str, str], *, on_gpu: bool) -> Member:
        """This process."""
        return cls(
            rank=context.place.rank,
            host=socket.gethostname(),
            attempt=context.attempt,
            spec_hash=context.spec_hash,
            gpu=str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid) if on_gpu else None,
            software=_software(on_gpu=on_gpu),
            keys=keys,
        )

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host}"


def check_members(members: Sequence[Member]) -> None:
    """Refuse a world whose ranks would not make one run.

    Raises:
        WorldMixed: a rank is there twice, two ranks have one GPU, or attempts or specifications are mixed.
        WorldDiffers: versions or keys differ.
    """
    twice = [rank for rank, count in Counter(member.rank for member in members).items() if count > 1]
    if twice or len({(member.attempt, member.spec_hash) for member in members}) > 1:
        who = "; ".join(f"{m}, attempt {m.attempt}, spec {m.spec_hash[:8]}" for m in members)
        raise WorldMixed(f"the ranks that met do not belong together: {who}")
    _check_gpus(members)
    first = members[0]
    for member in members[1:]:
        _check_alike(first, member)


def check_data(fingerprints: Sequence[str]) -> None:
    """Refuse ranks that read other rows.

    Args:
        fingerprints: of each rank's rows, by rank.

    Raises:
        WorldDiffers: with two ranks, and what each has.
    """
    for rank, found in enumerate(fingerprints):
        if found != fingerprints[0]:
            raise WorldDiffers(
                f"ranks 0 and {rank} read other data: {fingerprints[0]} and {found}; give all nodes one claim, and "
                "delete tokens of an earlier run that only one of them has"
            )


def _check_gpus(members: Sequence[Member]) -> None:
    owners: dict[str, Member] = {}
    for member in members:
        if member.gpu is None:
            continue
        other = owners.setdefault(member.gpu, member)
        if other is not member:
            raise WorldMixed(
                f"{other} and {member} use one GPU ({member.gpu}): two nodes of the run are on one machine, or "
                "CUDA_VISIBLE_DEVICES names it twice"
            )


def _check_alike(first: Member, other: Member) -> None:
    versions = [
        f"{name} {first.software.get(name, 'missing')} and {other.software.get(name, 'missing')}"
        for name in _differing(first.software, other.software)
    ]
    if versions:
        raise WorldDiffers(f"{first} and {other} run different software: {', '.join(versions)}; use one image for all")
    if keys := _differing(first.keys, other.keys):
        raise WorldDiffers(
            f"{first} and {other} were given different values of {', '.join(keys)}; start all of them with one "
            "configuration"
        )


def _differing(first: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*first, *other} if first.get(name) != other.get(name))


def _software(*, on_gpu: bool) -> dict[str, str]:
    found = {}
    for name in SOFTWARE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if on_gpu:
        found["NCCL"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
    return found
