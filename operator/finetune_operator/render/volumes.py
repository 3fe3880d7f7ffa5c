"""The pods' volumes, and where they are mounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_operator import names
from finetune_operator.plan import Mount, RunPlan
from finetune_operator.render.metadata import Manifest
from finetune_trainer.records import HOSTFILE

TOKEN_DIR = "/var/run/secrets/finetune"  # noqa: S105 - a folder, not a secret
TOKEN_FILE = f"{TOKEN_DIR}/token"
HOSTFILE_PATH = "/job/hostfile"
TOKEN_SECONDS = 3600
"""The kubelet renews the token long before it ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Volumes:
    """Two lists of one pod's manifest."""

    volumes: tuple[Manifest, ...]
    mounts: tuple[Manifest, ...]


def of(plan: RunPlan) -> Volumes:
    """Configuration, the pod's own folders, the job's claims, and the token where progress is posted."""
    ours = [
        (_config(plan), _mounted("config", plan.paths.config, read_only=True)),
        (_folder("run"), _mounted("run", plan.paths.run)),
        (_folder("tmp"), _mounted("tmp", "/tmp")),  # noqa: S108 - the pod's own
        (_shared_memory(plan.job.spec.storage.shared_memory), _mounted("dshm", "/dev/shm")),  # noqa: S108
    ]
    if plan.run.progress_url is not None:
        ours.append((_token(plan), _mounted("token", TOKEN_DIR, read_only=True)))
    volume_of = _volume_names(plan.mounts)
    return Volumes(
        volumes=(*(volume for volume, _ in ours), *_claims(plan.mounts, volume_of)),
        mounts=(
            *(mount for _, mount in ours),
            *_hostfile(plan),
            *(_claim_mount(mount, volume_of) for mount in plan.mounts),
        ),
    )


def _volume_names(mounts: tuple[Mount, ...]) -> dict[str, str]:
    """Claim -> volume: a claim that is mounted twice is one volume, named by its first mount."""
    return {mount.claim: mount.volume for mount in reversed(mounts) if mount.claim is not None}


def _claims(mounts: tuple[Mount, ...], volume_of: Mapping[str, str]) -> tuple[Manifest, ...]:
    claimed = (_volume(name, "persistentVolumeClaim", {"claimName": claim}) for claim, name in volume_of.items())
    found = {volume["name"]: volume for volume in claimed}
    found |= {mount.volume: _folder(mount.volume) for mount in mounts if mount.claim is None}
    return tuple(found[mount.volume] for mount in mounts if mount.volume in found)


def _claim_mount(mount: Mount, volume_of: Mapping[str, str]) -> Manifest:
    volume = mount.volume if mount.claim is None else volume_of[mount.claim]
    said = _mounted(volume, mount.path, read_only=mount.read_only)
    return {**said, "subPath": mount.sub_path} if mount.sub_path else said


def _volume(name: str, source: str, value: Mapping[str, Any]) -> Manifest:
    return {"name": name, source: dict(value)}


def _mounted(volume: str, path: str, *, read_only: bool = False) -> Manifest:
    mount: Manifest = {"name": volume, "mountPath": path}
    return {**mount, "readOnly": True} if read_only else mount


def _folder(name: str) -> Manifest:
    return _volume(name, "emptyDir", {})


def _config(plan: RunPlan) -> Manifest:
    """The ConfigMaps in one folder."""
    sources = [{"configMap": {"name": name}} for name in dict.fromkeys((plan.config_name, plan.name))]
    return _volume("config", "projected", {"sources": sources})


def _hostfile(plan: RunPlan) -> tuple[Manifest, ...]:
    """Once more where DeepSpeed looks for it unless told otherwise, for people in the pod and their scripts; only
    attempts have one."""
    if plan.attempt == 0:
        return ()
    return ({**_mounted("config", HOSTFILE_PATH, read_only=True), "subPath": HOSTFILE},)


def _shared_memory(size: str | None) -> Manifest:
    """The container runtime's own /dev/shm is 64 MiB: too small for data loaders and NCCL."""
    limit = {"sizeLimit": size} if size is not None else {}
    return _volume("dshm", "emptyDir", {"medium": "Memory", **limit})


def _token(plan: RunPlan) -> Manifest:
    """A token of this pod for our intake and this job alone; the API server refuses it."""
    key = names.Key(plan.job.namespace, plan.job.name)
    token = {"audience": names.audience(key), "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    return _volume("token", "projected", {"sources": [{"serviceAccountToken": token}]})
