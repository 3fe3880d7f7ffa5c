"""Environment -> Settings, once, at start.

Law: the only room of the operator that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

PREFIX = "FINETUNE_OPERATOR_"


class NetworkProfile(BaseModel):
    """NCCL and RDMA settings of one fabric, kept once per cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: dict[str, str] = Field(default_factory=dict)
    """Variables of every rank, e.g. NCCL_SOCKET_IFNAME."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of every pod, e.g. k8s.v1.cni.cncf.io/networks."""


class Settings(BaseModel):
    """What the operator's owner decides, for every job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; empty: all."""
    image_repository: str = "finetune-trainer"
    image_tag: str = "0.1.0"
    run_as_user: int = 1000
    """User of the pods; 0 is refused by the security context that we render."""
    allow_host_path: bool = False
    """podTemplate may bring hostPath volumes."""
    allow_privileged: bool = False
    """podTemplate may bring privilege, host namespaces, capabilities, other service accounts."""
    network_profiles: dict[str, NetworkProfile] = Field(default_factory=dict)
    intake_url: str | None = None
    """How pods reach the intake, e.g. http://finetune-operator.finetune-system:8090; None: no progress posts."""
    intake_bind: str = "0.0.0.0:8090"
    health_bind: str = "0.0.0.0:8091"
    backoff_seconds: int = 10
    """Wait before attempt 2; doubles with every failure, up to `backoff_limit_seconds`."""
    backoff_limit_seconds: int = 600
    lost_pod_seconds: int = 30
    """A pod that is still there so long after its grace time is on a node that does not answer: the next attempt
    starts without waiting for it. Its ranks may run on; the fence keeps them from committing a checkpoint."""
    resync_seconds: int = 60
    """Every job is looked at this often, whatever the watches say."""
    progress_seconds: int = 10
    """At most one status write for progress in this time, per job."""
    concurrency: int = 8
    """Passes at the same time, over all jobs."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read FINETUNE_OPERATOR_<FIELD>, after the YAML file named by FINETUNE_OPERATOR_FILE.

        Raises:
            ValueError: an unknown variable with our prefix, or a value of the wrong type.
        """
        values: dict[str, Any] = {}
        names = {
            name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)
        }
        file = names.pop("file", None)
        if file:
            values.update(yaml.safe_load(Path(file).read_text()) or {})
        values.update({name: yaml.safe_load(value) for name, value in names.items()})
        return cls.model_validate(values)
