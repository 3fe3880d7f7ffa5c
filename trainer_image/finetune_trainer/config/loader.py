"""The one loader of files and manifests, and the line of every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_FLOAT_TAG = "tag:yaml.org,2002:float"
_REPLACED = frozenset({_FLOAT_TAG, "tag:yaml.org,2002:timestamp"})
_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, reading as the API server does: `1e-5` is a number, a date is text, no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's attribute, replaced for this class alone
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001 - PyYAML's signature
        """As PyYAML's, but a key that stands twice is an error; there the last one wins silently."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            name = str(key_node.value)
            if name in seen:
                problem = f"the key {name} stands twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+0123456789."))


def load_yaml(text: str) -> Any:  # noqa: ANN401 - a document may hold anything
    """One YAML document as plain values.

    Raises:
        yaml.YAMLError: not YAML, or a key stands twice.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader


def key_lines(text: str) -> dict[str, int]:
    """Key at the top of the document -> its line, counted from 1.

    Raises:
        yaml.YAMLError: not YAML.
    """
    node = yaml.compose(text, Loader=_Loader)
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key_node.value): key_node.start_mark.line + 1 for key_node, _ in node.value}


def load_json(text: str) -> Any:  # noqa: ANN401 - a document may hold anything
    """One JSON document as plain values.

    Raises:
        json.JSONDecodeError: not JSON.
        ValueError: a key stands twice.
    """
    return json.loads(text, object_pairs_hook=_once)


def json_lines(text: str) -> dict[str, int]:
    """Key at the top of a JSON object -> its line, counted from 1. `text` is known to be JSON."""
    return {key: text.count("\n", 0, at) + 1 for key, at in _json_keys(text)}


def _json_keys(text: str) -> Iterator[tuple[str, int]]:
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,:]*")
    at = text.find("{") + 1
    while text[(at := _after(space, text, at))] != "}":
        key, end = decoder.raw_decode(text, at)
        yield key, at
        _, at = decoder.raw_decode(text, _after(space, text, end))


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {key} stands twice")
        made[key] = value
    return made
