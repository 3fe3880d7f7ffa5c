"""Who owns a key: the manifest's own fields win; a pasted YAML's words stand where they are silent.

A contradiction is told as a note, never refused: a YAML that ran on somebody's machine names a folder of that machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_operator.spec.locations import DATASET_SCHEMES, MODEL_SCHEMES, parse_location
from finetune_operator.spec.types import Dataset, FineTuneJobSpec
from finetune_operator.spec.violation import Violation

OUTPUT_DIR = "output"
"""Where spec.training says none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """What one rule says about spec.training."""

    values: dict[str, Any] = field(default_factory=dict)
    """Keys to set."""
    dropped: tuple[str, ...] = ()
    """Keys to leave out."""
    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


Rule = Callable[[FineTuneJobSpec, Mapping[str, Any]], Ruling]


def settle(spec: FineTuneJobSpec) -> Ruling:
    """All rules together; `values` is then the whole of spec.training as the trainer shall see it.

    A model or data set on a claim keeps its `pvc://` form here: where a claim is mounted is the plan's decision.
    """
    rulings = [rule(spec, spec.training) for rule in RULES]
    training = dict(spec.training)
    for ruling in rulings:
        training = {key: value for key, value in training.items() if key not in ruling.dropped} | ruling.values
    return Ruling(
        values=training,
        notes=tuple(note for ruling in rulings for note in ruling.notes),
        violations=tuple(violation for ruling in rulings for violation in ruling.violations),
    )


def _model(spec: FineTuneJobSpec, training: Mapping[str, Any]) -> Ruling:
    """spec.model over model_name_or_path and model_revision."""
    said = training.get("model_name_or_path")
    if spec.model is None:
        return _model_of_training(said)
    try:
        location = parse_location(spec.model.uri, MODEL_SCHEMES)
    except ValueError as error:
        return Ruling(violations=(Violation(path="spec.model.uri", message=str(error)),))
    name = {"hf": location.name, "path": location.path}.get(location.scheme, spec.model.uri)
    agrees = not said or str(said).rstrip("/") in (name, spec.model.uri)
    values = {"model_name_or_path": name}
    if spec.model.revision:
        values["model_revision"] = spec.model.revision
    if agrees:
        return Ruling(values=values)
    note = f"training.model_name_or_path {said} gives way to spec.model.uri {spec.model.uri}"
    # A pasted revision belongs to the pasted model.
    return Ruling(values=values, dropped=("model_revision",), notes=(note,))


def _model_of_training(said: object) -> Ruling:
    if not said:
        message = "say which model: uri here, or model_name_or_path in spec.training"
        return Ruling(violations=(Violation(path="spec.model", message=message),))
    if str(said).startswith("."):
        return Ruling(
            notes=(f"training.model_name_or_path {said} is a folder in the image; spec.model.uri names others",)
        )
    return Ruling()


def _datasets(spec: FineTuneJobSpec, training: Mapping[str, Any]) -> Ruling:
    """spec.datasets over dataset; one that only eval_dataset names is for evaluation, not for training."""
    said, evaluated = _names(training.get("dataset")), _names(training.get("eval_dataset"))
    if not spec.datasets:
        if said:
            return Ruling()
        message = "say which data to train on: a list here, or dataset in spec.training"
        return Ruling(violations=(Violation(path="spec.datasets", message=message),))
    wrong = tuple(violation for index, dataset in enumerate(spec.datasets) for violation in _source(index, dataset))
    names = [dataset.name for dataset in spec.datasets]
    wrong += tuple(
        Violation(path=f"spec.datasets[{index}].name", message=f"{name} is there twice; name each data set once")
        for index, name in enumerate(names)
        if name in names[:index]
    )
    learned = [name for name in names if name in said or name not in evaluated]
    if not learned:
        wrong += (
            Violation(path="spec.datasets", message="nothing is left to train on: eval_dataset names all of them"),
        )
    notes = () if not said or said == learned else (_dataset_note(said, learned),)
    return Ruling(values={"dataset": ",".join(learned)}, notes=notes, violations=wrong)


def _dataset_note(said: list[str], learned: list[str]) -> str:
    return f"training.dataset {','.join(said)} gives way to spec.datasets {','.join(learned)}"


def _source(index: int, dataset: Dataset) -> tuple[Violation, ...]:
    path = f"spec.datasets[{index}]"
    if dataset.uri is None:
        if dataset.info is None:
            return ()
        return (Violation(path=f"{path}.info", message="describes a source of its own; say where it lies in uri"),)
    wrong: tuple[Violation, ...] = ()
    try:
        parse_location(dataset.uri, DATASET_SCHEMES)
    except ValueError as error:
        wrong = (Violation(path=f"{path}.uri", message=str(error)),)
    return wrong + tuple(
        Violation(path=f"{path}.info.{key}", message="leave it out; uri says where the data lies")
        for key in _SOURCE_KEYS
        if key in (dataset.info or {})
    )


def _output_dir(_spec: FineTuneJobSpec, training: Mapping[str, Any]) -> Ruling:
    """Always relative: the plan puts it under <output>/<namespace>/<job>/."""
    said = str(training.get("output_dir") or OUTPUT_DIR)
    parts = [part for part in said.split("/") if part not in ("", ".", "~")]
    if ".." in parts:
        message = f"must not contain .., as {said} does; what a job writes stays in the job's own folder"
        return Ruling(violations=(Violation(path="spec.training.output_dir", message=message),))
    relative = "/".join(parts) or OUTPUT_DIR
    if said.startswith(("/", "~")):
        return Ruling(
            values={"output_dir": relative},
            notes=(f"training.output_dir {said} becomes {relative} in the job's folder",),
        )
    return Ruling(values={"output_dir": relative})


def _launcher(_spec: FineTuneJobSpec, training: Mapping[str, Any]) -> Ruling:
    """resources and launcher say who runs where, not a rank that was pasted."""
    notes = tuple(
        f"training.{key} {training[key]} is left out: spec.resources and spec.launcher say it"
        for key, default in _LAUNCHER_KEYS.items()
        if training.get(key, default) not in (default, None)
    )
    return Ruling(dropped=tuple(_LAUNCHER_KEYS), notes=notes)


def _names(value: object) -> list[str]:
    """`a,b` or [a, b]."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [str(part).strip() for part in parts if str(part).strip()]


RULES: tuple[Rule, ...] = (_model, _datasets, _output_dir, _launcher)
_SOURCE_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")
_LAUNCHER_KEYS = {"local_rank": -1}
"""Key -> the default that nobody needs to be told of."""
