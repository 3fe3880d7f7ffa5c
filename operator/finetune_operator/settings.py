"""Environment -> Settings, once, at start.

Law: the only room of the operator that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from finetune_operator.network_profiles import NetworkProfile, built_in, laid_over

PREFIX = "FINETUNE_OPERATOR_"


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
    """podTemplate and network profiles may bring privilege, host namespaces, capabilities, other service accounts."""
    gang_scheduler: str | None = None
    """What the training operator's flag --gang-scheduler-name says, e.g. volcano; None: it has none, and jobs that ask
    for a gang are refused."""
    network_profiles: dict[str, NetworkProfile] = Field(default_factory=built_in)
    """The built-in ones, and over them what the owner says."""
    intake_url: str | None = None
    """How pods reach the intake, e.g. https://finetune-operator.finetune-system.svc:8090; None: no progress posts."""
    intake_tls_folder: str | None = None
    """Folder with tls.crt and tls.key for the intake, and ca.crt, which the pods are given; None: it speaks HTTP."""
    intake_ca: str | None = None
    """Certificates (PEM) by which pods know the intake, where somebody else ends TLS for it, e.g. an Ingress; None:
    ca.crt of the folder above, or the authorities in the trainer's image."""
    intake_bind: str = "0.0.0.0:8090"
    health_bind: str = "0.0.0.0:8091"
    admission_folder: str | None = None
    """Folder with tls.crt and tls.key for the validating webhook; None: there is none."""
    admission_port: int = 9443
    prepare_retries: int = 20
    """Pods of a preparation, or of an export, that may fail where another one may do better: a hub that is away, a
    node that goes."""
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
    concurrency: int = 32
    """Passes at the same time, over all jobs: each waits for the API server, one request after the other."""

    log_format: Literal["json", "text"] = "json"
    """Of the operator's log: an object a line, with namespace, job and attempt; or plain text."""

    @field_validator("network_profiles", mode="before")
    @classmethod
    def _over_the_built_in(cls, said: object) -> object:
        return laid_over(built_in(), said) if isinstance(said, Mapping) else said

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
