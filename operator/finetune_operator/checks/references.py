"""Secrets, ConfigMaps and claims that env and podTemplate name: of the job's own namespace, by their name alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from finetune_operator import names
from finetune_operator.checks.overlay import PATH, keys
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

_NAMES = frozenset({"claimName", "secretName"})
"""Fields that hold a name."""
_REFERENCES = frozenset(
    {"configMap", "configMapKeyRef", "configMapRef", "dataSource", "dataSourceRef", "nodePublishSecretRef"}
    | {"secret", "secretKeyRef", "secretRef"}
)
"""Fields that hold a mapping with a name."""


def of_this_namespace(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """What belongs to another namespace cannot be had, and is not looked for under another name."""
    for index, entry in enumerate(job.spec.env):
        yield from _wrong(entry.get("valueFrom"), f"spec.env[{index}].valueFrom", job)
    yield from _wrong(job.spec.pod_template, PATH, job)


def _wrong(tree: object, root: str, job: FineTuneJob) -> Iterator[Violation]:
    instead = f"a job uses what is in its own namespace, {job.namespace}"
    for path, key, value in keys(tree, root):
        name, where = (value.get("name"), f"{path}.name") if isinstance(value, Mapping) else (value, path)
        refers = key in _NAMES or (key in _REFERENCES and isinstance(value, Mapping))
        if refers and isinstance(name, str) and not names.is_name(name):
            yield Violation(path=where, message=f"{name[:60]} is no name of an object; {instead}")
        if key in _REFERENCES and isinstance(value, Mapping) and "namespace" in value:
            yield Violation(path=f"{path}.namespace", message=f"leave it out; {instead}")
