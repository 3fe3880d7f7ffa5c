"""What a fabric needs of the pods: NCCL's variables, annotations, devices, memory that may be locked.

Law: the built-in profiles are data (network_profiles.yaml); here is their type, and how the owner's lie over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from finetune_trainer.sizing import bytes_of

UNLIMITED: Final = "unlimited"
_MAPS = ("env", "annotations", "resources")


class NetworkProfile(BaseModel):
    """NCCL and RDMA settings of one fabric, kept once per cluster. It speaks of jobs of several nodes only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: dict[str, str] = Field(default_factory=dict)
    """Variables of every rank, e.g. NCCL_SOCKET_IFNAME."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of every pod, e.g. k8s.v1.cni.cncf.io/networks for a secondary network."""
    resources: dict[str, str] = Field(default_factory=dict)
    """Extended resources of every pod, e.g. rdma/hca: "1"; the job's spec.resources.extra wins."""
    device: str | None = None
    """A path that must be in the pod, checked before ranks start."""
    min_memlock: str | None = None
    """RLIMIT_MEMLOCK that the nodes must give: `unlimited` or a quantity; checked before ranks start."""
    capabilities: tuple[str, ...] = ()
    """Added to the trainer's container, which then runs as root: they have no effect for any other user."""
    privileged: bool = False
    """The trainer's container is privileged, and root."""

    @field_validator("min_memlock")
    @classmethod
    def _readable(cls, said: str | None) -> str | None:
        if said is not None and said != UNLIMITED:
            bytes_of(said)
        return said

    @model_validator(mode="after")
    def _pods_own(self) -> Self:
        if wrong := sorted({"cpu", "memory"} & self.resources.keys()):
            raise ValueError(f"resources: {wrong[0]} is the job's to say; a profile names devices")
        return self

    @property
    def memlock(self) -> int | None:
        """Bytes; -1: unlimited; None: whatever the nodes give."""
        if self.min_memlock is None:
            return None
        return -1 if self.min_memlock == UNLIMITED else bytes_of(self.min_memlock)

    @property
    def privilege(self) -> str | None:
        """What it takes that a restricted pod has not, in words; None: nothing."""
        if self.privileged:
            return "a privileged container that runs as root"
        return f"{', '.join(self.capabilities)} in a container that runs as root" if self.capabilities else None


def built_in() -> dict[str, NetworkProfile]:
    """By name: tcp, infiniband, roce, efa."""
    text = resources.files("finetune_operator").joinpath("network_profiles.yaml").read_text(encoding="utf-8")
    return {name: NetworkProfile.model_validate(said) for name, said in yaml.safe_load(text).items()}


def laid_over(known: Mapping[str, NetworkProfile], said: Mapping[str, Any]) -> dict[str, Any]:
    """The known profiles and the owner's: of a known name, only what the owner says changes."""
    return {**known, **{name: _changed(known.get(name, NetworkProfile()), changes) for name, changes in said.items()}}


def _changed(profile: NetworkProfile, changes: object) -> object:
    """Maps are merged key by key, a null takes a key away; anything else is replaced. No map at all fails later."""
    if isinstance(changes, NetworkProfile):
        changes = changes.model_dump(exclude_unset=True)
    if not isinstance(changes, Mapping):
        return changes
    merged: dict[str, Any] = profile.model_dump() | dict(changes)
    for name in _MAPS:
        if isinstance(changes.get(name), Mapping):
            entries = getattr(profile, name) | changes[name]
            merged[name] = {key: value for key, value in entries.items() if value is not None}
    return merged
