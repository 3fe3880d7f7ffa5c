"""pydantic's JSON schema -> the structural one that an API server takes: one tree, no references, no null types."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

Schema = dict[str, Any]
_INT32 = 2**31
_BOUNDS = {"ge": "minimum", "le": "maximum"}
"""pydantic leaves a bound under its own name where a validator of ours stands before the type."""
_DROPPED = frozenset(
    {"title", "$defs", "additionalProperties", "anyOf", "allOf", "$ref", "const", "properties", "items", "examples"}
)
PRESERVE = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[BaseModel]) -> Schema:
    """The schema of a model, with its defaults and descriptions."""
    schema = model.model_json_schema(by_alias=True)
    return convert(schema, schema.get("$defs", {}))


def convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """One node and all below it."""
    node, nullable = _resolve(node, definitions)
    schema = {_BOUNDS.get(key, key): copy.deepcopy(value) for key, value in node.items() if key not in _DROPPED}
    if schema.get("default", ...) in (None, [], {}):
        del schema["default"]  # an empty default says nothing, and would be written into every object
    if "description" in node:
        schema["description"] = " ".join(_sentences(node, schema))
    if "const" in node:
        schema |= {"enum": [node["const"]]}
    if schema.get("type") == "integer":
        schema["format"] = "int64" if schema.get("maximum", 0) >= _INT32 else "int32"
    if schema.get("type") == "array":
        schema = {"x-kubernetes-list-type": "atomic"} | schema | {"items": convert(node["items"], definitions)}
    if schema.get("type") == "object":
        schema |= _object(node, definitions)
    return schema | ({"nullable": True} if nullable else {})


def _sentences(node: Mapping[str, Any], schema: Schema) -> Iterator[str]:
    """What the field is, its default and an example: `kubectl explain` prints nothing else of a schema."""
    yield node["description"]
    if "default" in schema:
        yield f"Default: {_yaml(schema['default'])}."
    for example in node.get("examples", ()):
        yield f"Example: {_yaml(example)}"


def _yaml(value: object) -> str:
    """On one line, as a person would write it into the manifest."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Without references and without `or null`, which becomes the second value; the outer sentence wins."""
    nullable = False
    while "$ref" in node or "anyOf" in node:
        outer = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            inner = definitions[node["$ref"].rpartition("/")[2]]
        else:
            [inner] = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
            nullable = nullable or len(node["anyOf"]) == 2
        node = {**inner, **outer}
    return node, nullable


def _object(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    if "properties" in node:
        required = node.get("required", ())
        fields = {name: convert(field, definitions) for name, field in node["properties"].items()}
        for name, field in fields.items():
            if name not in required and _has_defaults(field):
                field["default"] = {}  # the parts' own defaults apply where the object is not said
        return {"properties": fields}
    values = node.get("additionalProperties", True)
    return {PRESERVE: True} if values is True else {"additionalProperties": convert(values, definitions)}


def _has_defaults(field: Schema) -> bool:
    return not field.get("nullable") and any("default" in inner for inner in field.get("properties", {}).values())
