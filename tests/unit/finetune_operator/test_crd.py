"""The CRD: what lies in crds/ is what the types say, and the API server's schema agrees with our own door."""

import copy
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from finetune_operator import names
from finetune_operator.checks import check
from finetune_operator.crd import definition, render
from finetune_operator.observe import Observed
from finetune_operator.settings import Settings
from finetune_operator.spec import (
    AttemptRecord,
    FineTuneJobSpec,
    SpecInvalid,
    attempt_to_status,
    parse,
    pods_to_status,
)
from finetune_trainer import config

ROOT = Path(__file__).parents[3]
SCHEMA: dict[str, Any] = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC_SCHEMA: dict[str, Any] = SCHEMA["properties"]["spec"]
SPEC: dict[str, Any] = SPEC_SCHEMA["properties"]
MANIFEST: dict[str, Any] = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND,
    "metadata": {"name": "telechat3-36b"},
    "spec": {
        "model": {"uri": "hf://TeleAI/TeleChat3-36B-Thinking", "secretRef": {"name": "modelscope-token"}},
        "datasets": [
            {"name": "identity"},
            {"name": "t", "uri": "pvc://d/t.jsonl", "info": {"formatting": "sharegpt"}},
        ],
        "training": {
            "stage": "sft",
            "finetuning_type": "full",
            "template": "telechat2",
            "cutoff_len": 8192,
            "deepspeed": "zero3",
            "learning_rate": 1e-5,
            "num_train_epochs": 3,
            "resume_from_checkpoint": None,
        },
        "resources": {"nodes": 4, "gpusPerNode": 8, "cpu": 64, "memory": "1Ti", "extra": {"rdma/hca": 1}},
        "storage": {"output": {"claimName": "runs"}, "cache": {"claimName": "models"}, "sharedMemory": "64Gi"},
        "env": [{"name": "A", "value": "1"}],
        "network": {"profile": "roce"},
        "scheduling": {"queue": "team-a", "nodeSelector": {}, "tolerations": [{"operator": "Exists"}]},
        "launcher": "torchrun",
        "runPolicy": {"suspend": False, "activeDeadlineSeconds": None, "cleanPods": "Running"},
        "export": {"merge": False},
        "podTemplate": {"metadata": {"labels": {"team": "a"}}},
    },
}


def standard(node: Any) -> Any:
    """The structural schema as plain JSON schema; unknown fields are refused, as `kubectl` does."""
    if not isinstance(node, dict):
        return node
    plain = {key: value for key, value in node.items() if not key.startswith("x-") and key != "nullable"}
    for key in ("properties", "items", "additionalProperties"):
        if key in plain:
            inner = plain[key]
            plain[key] = (
                {name: standard(field) for name, field in inner.items()} if key == "properties" else standard(inner)
            )
    if node.get("x-kubernetes-int-or-string"):
        plain["type"] = ["integer", "string"]
    if "properties" in plain and not node.get("x-kubernetes-preserve-unknown-fields"):
        plain["additionalProperties"] = False
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") else plain


PLAIN = standard(SCHEMA) | {"additionalProperties": True}
PLAIN["properties"]["metadata"] = {"type": "object"}
VALIDATOR = jsonschema.Draft202012Validator(PLAIN, format_checker=jsonschema.FormatChecker())


def changed(path: str, value: object) -> dict[str, Any]:
    """MANIFEST with spec.<path> set."""
    body = copy.deepcopy(MANIFEST)
    part, *steps = body["spec"], *path.split(".")
    for step in steps[:-1]:
        part = part.setdefault(step, {})
    part[steps[-1]] = value
    return body


def test_the_file_is_what_the_types_say() -> None:
    assert (ROOT / "crds/finetunejobs.yaml").read_text() == render(), "make it anew: python -m finetune_operator.crd"


def test_it_fits_into_an_annotation() -> None:
    assert len(json.dumps(definition())) < 262_144


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if f"kind: {names.KIND}" in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_accepted(path: Path) -> None:
    body = config.load_yaml(path.read_text())
    VALIDATOR.validate(body)
    assert check(parse(body), Observed(), Settings()) == ()


def test_the_designs_manifest_is_accepted() -> None:
    VALIDATOR.validate(MANIFEST)
    assert parse(MANIFEST).spec.world_size == 32


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("resources.nodes", 0),
        ("resources.nodes", "2"),
        ("resources.processesPerNode", 0),
        ("resources.memory", "1Tb"),
        ("resources.gpus", 1),
        ("launcher", "mpirun"),
        ("runPolicy.suspend", "yes"),
        ("runPolicy.maxAttempts", 0),
        ("runPolicy.keepSucceededSeconds", -1),
        ("runPolicy.keepFailedSeconds", "1d"),
        ("storage.output", {}),
        ("datasets", [{"uri": "pvc://a/b"}]),
        ("datasets", [{"name": "a,b"}]),
        ("model.uri", ""),
        ("training", []),
        ("training.cutoff_len", "long"),
        ("unknown", 1),
    ],
)
def test_both_doors_refuse(path: str, value: object) -> None:
    body = changed(path, value)
    assert list(VALIDATOR.iter_errors(body))
    with pytest.raises(SpecInvalid):
        parse(body)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("resources.nodes", 3.0),
        ("resources.cpu", "500m"),
        ("resources.cpu", None),
        ("storage.fsGroup", None),
        ("training.dataset", ["identity", "t"]),
        ("training.dataset", "identity,t"),
        ("training.deepspeed", {"zero_optimization": {"stage": 2}}),
        ("training.num_train_epochs", 3.0),
        ("export", None),
        ("runPolicy.keepSucceededSeconds", 0),
        ("runPolicy.keepFailedSeconds", None),
    ],
)
def test_both_doors_accept(path: str, value: object) -> None:
    body = changed(path, value)
    VALIDATOR.validate(body)
    parse(body)


def test_an_unknown_key_of_training_reaches_our_door() -> None:
    body = changed("training.learning_rat", 1)
    VALIDATOR.validate(body)
    with pytest.raises(SpecInvalid, match="did you mean learning_rate"):
        parse(body)


def test_every_key_of_training_is_explained_and_none_has_a_default() -> None:
    keys = SPEC["training"]["properties"]
    assert keys.keys() == config.schema()["properties"].keys()
    assert {"learning_rate", "deepspeed", "template", "lora_rank"} <= keys.keys()
    for name, schema in keys.items():
        assert schema["description"].strip(), name
        assert schema["nullable"] is True, name
        assert "default" not in schema, name
        assert schema.get("type") or schema["x-kubernetes-preserve-unknown-fields"], name


def nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every schema below, with its path."""
    found = [(path, schema)]
    for name, inner in schema.get("properties", {}).items():
        found += nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += nodes(schema[key], f"{path}[]")
    return found


def test_it_is_structural() -> None:
    for path, schema in nodes(SCHEMA):
        assert not schema.keys() & {"$ref", "anyOf", "allOf", "oneOf", "title", "const", "ge", "le"}, path
        preserved = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
        assert "type" in schema or preserved, path
        assert schema.get("additionalProperties") is not False, path


def test_every_field_has_a_sentence_and_bounds() -> None:
    ours = [(path, schema) for path, schema in nodes(SCHEMA) if not path.startswith((".spec.training.", ".metadata"))]
    for path, schema in ours:
        if path.startswith((".spec", ".status")) and not path.endswith("[]"):
            assert schema.get("description"), path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
            assert "x-kubernetes-list-type" in schema, path
        if schema.get("type") == "integer":
            assert {"minimum", "maximum", "format"} <= schema.keys(), path


OURS = [
    (path.removeprefix(".spec."), schema)
    for path, schema in nodes(SCHEMA)
    if path.startswith(".spec.") and not path.startswith(".spec.training.") and not path.endswith("[]")
]


def test_every_field_tells_what_it_is_when_it_is_not_said() -> None:
    needed = {
        f"{path}.{name}".lstrip(".") for path, schema in nodes(SPEC_SCHEMA) for name in schema.get("required", ())
    }
    scalars = {path: schema["description"] for path, schema in OURS if "properties" not in schema}
    silent = [path for path, said in scalars.items() if not re.search("Default: |[uU]nless said", said)]
    assert set(silent) - needed == set()


@pytest.mark.parametrize(("path", "schema"), [one for one in OURS if "Example: " in one[1]["description"]])
def test_every_example_is_accepted(path: str, schema: dict[str, Any]) -> None:
    value = yaml.safe_load(schema["description"].rpartition("Example: ")[2])
    body = copy.deepcopy(MANIFEST)
    body["spec"]["image"] = {"pullSecrets": [{"name": "one"}]}
    body["spec"]["datasets"] = [{"name": "t", "uri": "pvc://d/t.jsonl"}]
    part, *steps = body["spec"], *path.split(".")
    for step in steps[:-1]:
        part = part[step.removesuffix("[]")][-1] if step.endswith("[]") else part.setdefault(step, {})
    part[steps[-1]] = value
    VALIDATOR.validate(body)
    parse(body)


def test_the_schemas_defaults_are_the_types_own() -> None:
    """An object from the API server and a file read locally mean the same."""

    def filled(schema: dict[str, Any], value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name, inner in schema.get("properties", {}).items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                value[name] = filled(inner, value[name])
        return value

    said = {"training": {}}
    assert FineTuneJobSpec.model_validate(filled(SCHEMA["properties"]["spec"], copy.deepcopy(said))) == (
        FineTuneJobSpec.model_validate(said)
    )


def test_nothing_is_current_before_the_operator_has_looked() -> None:
    status = SCHEMA["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert status["properties"]["observedGeneration"]["format"] == "int64"
    assert status["properties"]["observedGeneration"]["minimum"] <= -1


def test_what_we_write_fits_the_status() -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    record = AttemptRecord(
        number=1, reason="A", message="m", counted=True, started=moment, finished=moment, rank=0, node="n", step=5,
        checkpoint_step=4, log_tail="...", gpus=16, lost_seconds=90
    )  # fmt: skip
    condition = {"type": "Ready", "status": "True", "reason": "Training", "message": "", "observedGeneration": 1}
    status = {
        "observedGeneration": 1,
        "conditions": [condition | {"lastTransitionTime": "2026-01-31T00:00:00Z"}],
        "attempts": [attempt_to_status(record)],
        "pods": pods_to_status({"a": "1"}),
        "progress": {"step": 1, "totalSteps": 2, "percentage": "50%", "loss": "1.25", "eta": "3m 20s", "epoch": "0.5"},
    }
    VALIDATOR.validate(MANIFEST | {"status": status})
    assert attempt_to_status(record).keys() == (
        SCHEMA["properties"]["status"]["properties"]["attempts"]["items"]["properties"].keys()
    )


def test_names_and_columns() -> None:
    crd = definition()
    assert crd["metadata"]["name"] == "finetunejobs.finetune.dev"
    assert crd["spec"]["names"]["shortNames"] == ["ftj"]
    assert crd["spec"]["names"]["categories"] == ["finetune"]
    version = crd["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    columns = [(column["name"], column.get("priority", 0)) for column in version["additionalPrinterColumns"]]
    assert columns == [
        ("State", 0), ("Progress", 0), ("Loss", 0), ("ETA", 0), ("Attempt", 0), ("Model", 1), ("Nodes", 1), ("Age", 0)
    ]  # fmt: skip
    paths = {path for path, _ in nodes(SCHEMA)}
    for column in version["additionalPrinterColumns"]:
        assert column["jsonPath"] in paths or column["jsonPath"].startswith(".metadata."), column


def test_every_rule_speaks_of_fields_that_exist_and_says_what_to_do() -> None:
    paths = {path.rpartition(".")[2] for path, _ in nodes(SCHEMA)}
    rules = [rule for _, schema in nodes(SCHEMA) for rule in schema.get("x-kubernetes-validations", ())]
    assert rules
    for rule in rules:
        assert rule["message"], rule
        mentioned = re.findall(r"[sS]elf((?:\.\w+)+)(?!\w*\()", rule["rule"])
        for field in {step for chain in mentioned for step in chain.split(".")[1:]} - {"matches", "startsWith"}:
            assert field in paths, rule


def test_the_file_is_read_by_any_yaml_parser() -> None:
    assert yaml.safe_load(render()) == json.loads(json.dumps(definition()))
    assert "&id" not in render()
