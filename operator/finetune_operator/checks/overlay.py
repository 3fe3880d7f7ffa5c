"""podTemplate: a pod template that adds to ours, and leaves alone what an attempt relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from finetune_operator import names
from finetune_operator.checks import environment
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

PATH = "spec.podTemplate"
_CONTAINERS = ("containers", "initContainers")
_OURS_IN_POD = {
    "restartPolicy": "a failed attempt starts anew with all ranks; see spec.runPolicy.maxAttempts",
    "terminationGracePeriodSeconds": "say it as spec.runPolicy.terminationGracePeriodSeconds",
    "activeDeadlineSeconds": "say it as spec.runPolicy.activeDeadlineSeconds",
    "ephemeralContainers": "a template can't have any",
    "hostname": "the training operator names the pods",
    "subdomain": "the training operator names the pods",
}
_OURS_IN_CONTAINER = {
    "image": "say it as spec.image",
    "command": "the trainer's entry point is ours; a sidecar may have its own",
    "args": "the trainer's entry point is ours; a sidecar may have its own",
    "readinessProbe": "it would keep the ranks from finding each other",
    "terminationMessagePath": "the supervisor's record is read from it",
    "terminationMessagePolicy": "the supervisor's record is read from it",
}
_OUR_LABELS = (f"{names.GROUP}/", "training.kubeflow.org/", "kueue.x-k8s.io/")


def well_formed(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """A pod template: metadata and spec, lists of named containers, nothing that takes away."""
    overlay = job.spec.pod_template
    for key in sorted(overlay.keys() - {"metadata", "spec"}):
        yield Violation(path=f"{PATH}.{key}", message="unknown field; a pod template has metadata and spec")
    for key in ("metadata", "spec"):
        if not isinstance(overlay.get(key, {}), Mapping | None):
            yield Violation(path=f"{PATH}.{key}", message="must be a mapping")
    for key in (*_CONTAINERS, "volumes"):
        if not _named_list(pod(job).get(key)):
            yield Violation(path=f"{PATH}.spec.{key}", message="must be a list of mappings, each with a name")
    for path, key, value in _keys(overlay, PATH):
        if key.startswith("$"):
            yield Violation(path=path, message=f"the directive {key} is not supported; an overlay adds and replaces")
        elif value is None:
            yield Violation(path=path, message="a null would take away what the operator sets; leave it out")


def leaves_ours_alone(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Fields that have a place in the manifest, or that an attempt relies on."""
    for key, message in _OURS_IN_POD.items():
        if key in pod(job):
            yield Violation(path=f"{PATH}.spec.{key}", message=message)
    for path, container in containers(job):
        if container.get("name") == names.CONTAINER:
            for key in _OURS_IN_CONTAINER.keys() & container.keys():
                yield Violation(path=f"{path}.{key}", message=_OURS_IN_CONTAINER[key])
    labels = mapping(mapping(job.spec.pod_template.get("metadata")).get("labels"))
    for label in labels:
        if str(label).startswith(_OUR_LABELS):
            yield Violation(path=f"{PATH}.metadata.labels.{label}", message="belongs to the operators; leave it out")


def environment_well_formed(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """The same rules as for spec.env; a sidecar may use reserved names, the trainer's container may not."""
    for path, container in containers(job):
        variables = entries(container.get("env"))
        yield from environment.malformed(variables, f"{path}.env")
        yield from environment.plain_secrets(variables, f"{path}.env")
        if container.get("name") == names.CONTAINER:
            yield from environment.reserved(variables, f"{path}.env")


def pod(job: FineTuneJob) -> Mapping[str, Any]:
    """The overlay's spec."""
    return mapping(job.spec.pod_template.get("spec"))


def containers(job: FineTuneJob) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every container of the overlay, with its path."""
    for key in _CONTAINERS:
        for index, container in enumerate(entries(pod(job).get(key))):
            yield f"{PATH}.spec.{key}[{index}]", container


def mapping(value: object) -> Mapping[str, Any]:
    """The value, or an empty mapping where `well_formed` tells that it is none."""
    return value if isinstance(value, Mapping) else {}


def entries(value: object) -> list[Mapping[str, Any]]:
    """The mappings of a list; `well_formed` tells what is none."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _keys(value: object, path: str) -> Iterator[tuple[str, str, object]]:
    """Every key of a tree: its path, itself, its value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{path}.{key}", str(key), inner
            yield from _keys(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys(inner, f"{path}[{index}]")


def _named_list(value: object) -> bool:
    """Or nothing at all."""
    if not isinstance(value, list):
        return value is None
    return all(isinstance(entry, Mapping) and entry.get("name") for entry in value)
