"""What we render is a PyTorchJob to the training operator's own CRD, with no field that it would drop."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.golden.cases import EXAMPLES, HERE, children

from finetune_operator.render.overlay import MERGE_KEYS

MODULE = HERE.parent / "cluster" / "binaries" / "training-operator"


@cache
def _schema() -> dict[str, Any]:
    """The schema of PyTorchJob, from the Go module that the test cluster's training operator is built from."""
    try:
        found = subprocess.run(
            ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/kubeflow/training-operator"],
            cwd=MODULE,
            env={**os.environ, "GOPROXY": "off"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no Go module github.com/kubeflow/training-operator here: {error}")
    crd = Path(found.stdout.strip()) / "manifests/base/crds/kubeflow.org_pytorchjobs.yaml"
    if not found.stdout.strip() or not crd.exists():
        pytest.skip("the Go module github.com/kubeflow/training-operator is not in the module cache")
    loaded = yaml.load(crd.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema: dict[str, Any] = loaded["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _closed(schema: Any) -> Any:
    """The schema, with every field that it does not know refused instead of dropped."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _pytorchjob(example: Path) -> dict[str, Any]:
    return next(one for one in children(example) if one["kind"] == "PyTorchJob")


def _pod_lists(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Every list of named things in the pods' template -> the fields that name its items."""
    found: dict[str, list[str]] = {}
    for key, value in schema.get("properties", {}).items():
        if "x-kubernetes-list-map-keys" in value:
            found[key] = value["x-kubernetes-list-map-keys"]
        found |= _pod_lists(value) | _pod_lists(value.get("items", {}))
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_pytorchjob_fits_the_training_operators_schema(example: Path) -> None:
    pytorchjob = _pytorchjob(example)
    jsonschema.validate(pytorchjob, _closed(_schema()))


def test_the_closed_schema_refuses_a_field_that_the_api_server_would_drop() -> None:
    pytorchjob = _pytorchjob(EXAMPLES[0])
    pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["resartPolicy"] = "Never"
    with pytest.raises(jsonschema.ValidationError, match="resartPolicy"):
        jsonschema.validate(pytorchjob, _closed(_schema()))


def test_overlay_merges_lists_by_the_names_that_the_api_server_uses() -> None:
    replicas = _schema()["properties"]["spec"]["properties"]["pytorchReplicaSpecs"]
    keys = _pod_lists(replicas["additionalProperties"]["properties"]["template"])
    assert {name: keys[name][0] for name in MERGE_KEYS} == dict(MERGE_KEYS)
