"""podTemplate: a pod template that adds to ours, and leaves alone what an attempt relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from finetune_operator import names
from finetune_operator.checks import environment, pod_fields
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation
from finetune_operator.spec.shape import nearest

PATH = "spec.podTemplate"
_CONTAINERS = ("containers", "initContainers")
_OURS_IN_TRAINER = {
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
    for path, key, value in keys(overlay, PATH):
        if key.startswith("$"):
            yield Violation(path=path, message=f"the directive {key} is not supported; an overlay adds and replaces")
        elif value is None:
            yield Violation(path=path, message="a null would take away what the operator sets; leave it out")


def leaves_ours_alone(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Fields that have a place in the manifest, or that an attempt relies on."""
    for key, message in pod_fields.OURS_IN_POD.items():
        if key in pod(job):
            yield Violation(path=f"{PATH}.spec.{key}", message=message)
    for path, container in containers(job):
        if container.get("name") == names.CONTAINER:
            for key in _OURS_IN_TRAINER.keys() & container.keys():
                yield Violation(path=f"{path}.{key}", message=_OURS_IN_TRAINER[key])
        for key in pod_fields.OURS_IN_CONTAINER.keys() & container.keys():
            yield Violation(path=f"{path}.{key}", message=pod_fields.OURS_IN_CONTAINER[key])
    for kind in sorted(pod_fields.METADATA):
        for word in mapping(mapping(job.spec.pod_template.get("metadata")).get(kind)):
            if str(word).startswith(_OUR_LABELS):
                yield Violation(
                    path=f"{PATH}.metadata.{kind}.{word}", message="belongs to the operators; leave it out"
                )


def every_field_known(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Of a field that nobody has thought about, nobody can say that it takes nothing."""
    template = pod(job)
    yield from _unknown(mapping(job.spec.pod_template.get("metadata")), f"{PATH}.metadata", pod_fields.METADATA)
    known = pod_fields.USERS_IN_POD | pod_fields.OURS_IN_POD.keys()
    yield from _unknown(template, f"{PATH}.spec", known)
    where = f"{PATH}.spec.securityContext"
    yield from _unknown(mapping(template.get("securityContext")), where, pod_fields.POD_CONTEXT)
    for path, container in containers(job):
        known = pod_fields.USERS_IN_CONTAINER | pod_fields.OURS_IN_CONTAINER.keys()
        yield from _unknown(container, path, known)
        context = mapping(container.get("securityContext"))
        yield from _unknown(context, f"{path}.securityContext", pod_fields.CONTAINER_CONTEXT)
    for index, volume in enumerate(entries(template.get("volumes"))):
        path = f"{PATH}.spec.volumes[{index}]"
        yield from _unknown(volume, path, {"name"} | pod_fields.USERS_VOLUMES | pod_fields.HOSTS_VOLUMES)
        for source in entries(mapping(volume.get("projected")).get("sources")):
            yield from _unknown(source, f"{path}.projected", pod_fields.USERS_PROJECTIONS | pod_fields.IDENTITIES)


def _unknown(found: Mapping[str, Any], path: str, known: Set[str]) -> Iterator[Violation]:
    for key in found:
        if key not in known and not str(key).startswith("$"):
            yield Violation(path=f"{path}.{key}", message=f"unknown field{nearest(str(key), sorted(known))}")


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


def keys(value: object, path: str) -> Iterator[tuple[str, str, object]]:
    """Every key of a tree: its path, itself, its value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{path}.{key}", str(key), inner
            yield from keys(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from keys(inner, f"{path}[{index}]")


def _named_list(value: object) -> bool:
    """Or nothing at all."""
    if not isinstance(value, list):
        return value is None
    return all(isinstance(entry, Mapping) and entry.get("name") for entry in value)
