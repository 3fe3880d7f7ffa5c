"""The whole CustomResourceDefinition."""

from __future__ import annotations

from typing import Any

from finetune_operator import names
from finetune_operator.crd.rules import COLUMNS, LISTS, RULES
from finetune_operator.crd.status import Status
from finetune_operator.crd.structural import Schema, structural
from finetune_operator.crd.training import training
from finetune_operator.spec.types import FineTuneJobSpec


def definition() -> dict[str, Any]:
    """The manifest of the CRD, as plain values."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["ftj"],
                "categories": ["finetune"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(COLUMNS),
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> Schema:
    """The schema of a FineTuneJob."""
    spec, status = structural(FineTuneJobSpec), structural(Status)
    spec["properties"]["training"] |= training()
    # kstatus calls an object in progress whose status speaks about another generation: nothing is current unseen.
    status["default"] = {"observedGeneration": -1}
    root: Schema = {
        "type": "object",
        "description": "A fine-tuning: one manifest from a base model and data to a trained model.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    for path, additions in LISTS.items():
        _at(root, path).update(additions)
    for path, rules in RULES.items():
        _at(root, path)["x-kubernetes-validations"] = rules
    return root


def _at(root: Schema, path: str) -> Schema:
    """The schema at a path such as `spec.datasets[]`; the root for an empty one."""
    node = root
    for step in filter(None, path.split(".")):
        node = node["properties"][step.removesuffix("[]")]
        node = node["items"] if step.endswith("[]") else node
    return node
