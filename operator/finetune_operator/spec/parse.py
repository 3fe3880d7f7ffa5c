"""Manifest -> FineTuneJob: shapes by pydantic, spec.training by the trainer's own class, ownership of keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_operator import names
from finetune_operator.spec.digest import spec_hash
from finetune_operator.spec.ownership import settle
from finetune_operator.spec.recorded import Recorded, recorded_from_status
from finetune_operator.spec.shape import read_spec
from finetune_operator.spec.types import FineTuneJobSpec
from finetune_operator.spec.violation import SpecInvalid, Violation
from finetune_trainer import config
from finetune_trainer.config import ConfigInvalid, TrainConfig

TRAINING = "spec.training"


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuneJob:
    """A checked job: what the user asked for, and what we wrote down about it before."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: FineTuneJobSpec
    training: TrainConfig
    """spec.training, checked, after the ownership rules; a model on a claim is still `pvc://claim/path`."""
    spec_hash: str
    """SHA-256 (16 hexadecimal digits) over what decides the result: model, data, training, output, world size."""
    ignores_memory: bool = False
    """By its annotation, it starts although the estimate says that it does not fit."""
    notes: tuple[str, ...] = ()
    """What we read otherwise than it was written, for people; shown with the Accepted condition."""
    recorded: Recorded = field(default_factory=Recorded)

    def hash_on(self, nodes: int) -> str:
        """spec_hash, were it run on so many nodes."""
        resources = self.spec.resources.model_copy(update={"nodes": nodes})
        return spec_hash(self.spec.model_copy(update={"resources": resources}), self.training)


def parse(body: Mapping[str, Any]) -> FineTuneJob:
    """Check a manifest.

    Raises:
        SpecInvalid: with every wrong field at once.
    """
    violations = list(_identity(body))
    raw = body.get("spec")
    try:
        spec = read_spec(raw)
    except SpecInvalid as error:
        raise SpecInvalid((*violations, *error.violations, *_wrong_beside(raw, error.violations))) from error
    settled = settle(spec)
    violations += settled.violations
    try:
        training = config.parse(settled.values, where=TRAINING)
    except ConfigInvalid as error:
        raise SpecInvalid((*violations, *error.violations)) from error
    if violations:
        raise SpecInvalid(tuple(violations))
    return _job(body, spec, training, notes=(*settled.notes, *_notes(spec, training)))


def _job(
    body: Mapping[str, Any], spec: FineTuneJobSpec, training: TrainConfig, *, notes: tuple[str, ...]
) -> FineTuneJob:
    metadata = body["metadata"]
    return FineTuneJob(
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        generation=metadata.get("generation") or 0,
        spec=spec,
        training=training,
        spec_hash=spec_hash(spec, training),
        ignores_memory=(metadata.get("annotations") or {}).get(names.ANNOTATION_IGNORE_MEMORY) == "true",
        notes=notes,
        recorded=recorded_from_status(body.get("status")),
    )


def _identity(body: Mapping[str, Any]) -> tuple[Violation, ...]:
    """A file may hold anything; an API server has checked this already."""
    wrong = [
        Violation(path=key, message=f"must be {expected}, not {body.get(key)}")
        for key, expected in (("apiVersion", names.API_VERSION), ("kind", names.KIND))
        if body.get(key, expected) != expected
    ]
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        wrong.append(Violation(path="metadata.name", message="is required: the job's name"))
    return tuple(wrong)


def _wrong_beside(raw: object, wrong: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """What else is wrong when some fields have no readable shape: nobody wants to correct them one at a time."""
    bad = {violation.path.split(".")[1].partition("[")[0] for violation in wrong if "." in violation.path}
    if not isinstance(raw, Mapping) or not isinstance(raw.get("training"), Mapping) or not bad:
        return ()
    settled = settle(read_spec({key: value for key, value in raw.items() if key not in bad}))
    found = tuple(violation for violation in settled.violations if violation.path.split(".")[1] not in bad)
    try:
        config.parse(settled.values, where=TRAINING)
    except ConfigInvalid as error:
        found += error.violations
    return found


def _notes(spec: FineTuneJobSpec, training: TrainConfig) -> tuple[str, ...]:
    """What is allowed and yet worth a word at the door."""
    resources, notes = spec.resources, []
    if spec.storage.output is None:
        notes.append("spec.storage.output is not said: what the run writes is lost with its pod")
    elif spec.storage.fs_group is None:
        notes.append("spec.storage.fsGroup is null: the output claim must be writable for the pods' user as it is")
    if spec.network.profile is not None and resources.nodes == 1:
        notes.append(f"spec.network.profile {spec.network.profile} is left out: one node has no network between nodes")
    notes += _restarts(spec, training)
    if 0 < spec.processes_per_node < resources.gpus_per_node:
        notes.append(
            f"{resources.gpus_per_node - spec.processes_per_node} GPUs of each node stay idle: one per process"
        )
    return tuple(notes)


def _restarts(spec: FineTuneJobSpec, training: TrainConfig) -> Iterator[str]:
    """Further attempts are allowed, and yet there is nothing to go on from."""
    attempts, keys = spec.run_policy.max_attempts, training.training
    if attempts == 1 or not keys.do_train:
        return
    begins = f"each of spec.runPolicy.maxAttempts {attempts} begins at step 0"
    if spec.storage.output is None:
        yield f"no checkpoint outlives its pod: {begins}"
    elif keys.save_strategy == "no" and not spec.run_policy.checkpoint_seconds:
        yield f"training.save_strategy no leaves no checkpoint: {begins}"
    elif keys.save_only_model:
        yield f"training.save_only_model leaves the optimiser out of checkpoints: {begins}"
