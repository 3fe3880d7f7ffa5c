"""Nodes that an attempt must not get: in every term of the pods' node affinity, beside what the overlay asks for."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.render.metadata import Manifest

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def avoiding(spec: Manifest, nodes: Sequence[str]) -> Manifest:
    """A pod's spec that no scheduler puts on these nodes. Terms are alternatives, so each of them must say it."""
    if not nodes:
        return spec
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = node_affinity.get(_REQUIRED) or {}
    terms = [_without(term, nodes) for term in required.get("nodeSelectorTerms") or [{}]]
    wanted = {**node_affinity, _REQUIRED: {**required, "nodeSelectorTerms": terms}}
    return {**spec, "affinity": {**affinity, "nodeAffinity": wanted}}


def _without(term: Manifest, nodes: Sequence[str]) -> Manifest:
    """By the node's name, not its hostname label; the API server takes one name in each field."""
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    return {**term, "matchFields": [*(term.get("matchFields") or []), *fields]}
