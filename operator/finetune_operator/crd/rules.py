"""What the types don't say: how lists merge, and the rules that the API server checks itself, with their messages.

The rules refuse at `kubectl apply` what `spec` would refuse a moment later; those with `oldSelf` hold back an edit
that would have no effect, because attempt 1 froze what it speaks about.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _keyed(key: str) -> Schema:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


_ENV_ENTRY = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the variable."}
    },
}

LISTS: dict[str, Schema] = {
    "spec.datasets": _keyed("name"),
    "spec.env": {**_keyed("name"), "items": _ENV_ENTRY},
    "spec.image.pullSecrets": _keyed("name"),
    "status.conditions": _keyed("type"),
    "status.attempts": _keyed("number"),
    "status.pods": _keyed("name"),
}
"""Path -> additions to the list's schema."""

FROZEN = (
    "model",
    "datasets",
    "training",
    "image.repository",
    "image.tag",
    "launcher",
    "resources.gpusPerNode",
    "resources.processesPerNode",
    "storage.output",
)
"""Fields of spec that attempt 1 freezes; not CPU, memory or /dev/shm: an attempt that ran out of them may get more."""


_NOT_STARTED = "!has(oldSelf.status) || !has(oldSelf.status.attempt) || oldSelf.status.attempt < 1"


def _frozen(field: str) -> Schema:
    new, old = f"self.spec.{field}", f"oldSelf.spec.{field}"
    return {
        "rule": f"{_NOT_STARTED} || has({new}) == has({old}) && (!has({new}) || {new} == {old})",
        "message": f"spec.{field} can't be changed once attempt 1 has started: make a new job, or replace this one",
        "fieldPath": f".spec.{field}",
        "reason": "FieldValueForbidden",
    }


_NODES: Schema = {
    "rule": f"{_NOT_STARTED} || self.spec.resources.nodes == oldSelf.spec.resources.nodes"
    " || has(oldSelf.status.state) && oldSelf.status.state == 'Suspended'",
    "message": "spec.resources.nodes can be changed only while the job is suspended: set spec.runPolicy.suspend,"
    " and wait until status.state is Suspended",
    "fieldPath": ".spec.resources.nodes",
    "reason": "FieldValueForbidden",
}

RULES: dict[str, list[Schema]] = {
    "": [*(_frozen(field) for field in FROZEN), _NODES],
    "spec": [
        {
            "rule": "has(self.model) || has(self.training.model_name_or_path)",
            "message": "say which model: spec.model.uri, or model_name_or_path in spec.training",
        },
    ],
    "spec.model": [
        {
            "rule": "self.uri.startsWith('/') || self.uri.matches('^(hf|ms|s3|https?|pvc)://.+')",
            "message": "uri must be hf://org/name, ms://org/name, s3://bucket/prefix, https://host/folder,"
            " pvc://claim/path, or an absolute path in the image",
        }
    ],
    "spec.datasets[]": [
        {
            "rule": "has(self.uri) || !has(self.info)",
            "message": "info describes a source of its own; say where it lies in uri",
        }
    ],
    "spec.resources": [
        {
            "rule": "self.gpusPerNode == 0 || !has(self.processesPerNode)"
            " || self.processesPerNode <= self.gpusPerNode",
            "message": "processesPerNode must be at most gpusPerNode: each process needs a GPU of its own",
        }
    ],
}
"""Path of the object -> its rules; `[]` stands for a list's entries."""

COLUMNS: tuple[Schema, ...] = (
    {"name": "State", "type": "string", "jsonPath": ".status.state"},
    {"name": "Progress", "type": "string", "jsonPath": ".status.progress.percentage"},
    {"name": "Loss", "type": "string", "jsonPath": ".status.progress.loss"},
    {"name": "ETA", "type": "string", "jsonPath": ".status.progress.eta"},
    {"name": "Attempt", "type": "integer", "jsonPath": ".status.attempt"},
    {"name": "Model", "type": "string", "jsonPath": ".spec.model.uri", "priority": 1},
    {"name": "Nodes", "type": "integer", "jsonPath": ".spec.resources.nodes", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)
"""What `kubectl get ftj` prints; priority 1 only with `-o wide`."""
