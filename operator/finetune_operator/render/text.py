"""Values -> text that people read: YAML in the order it was written, long texts as blocks, JSON with an indent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml


class _Readable(yaml.SafeDumper):
    """Safe YAML without anchors, and with texts of several lines as `|` blocks."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Repeat a value rather than point to it: a reader must not follow anchors."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def yaml_text(value: Mapping[str, Any]) -> str:
    """One YAML document; floats such as 1e-5 are written so that every YAML reader sees a float."""
    return yaml.dump(dict(value), Dumper=_Readable, sort_keys=False, allow_unicode=True, width=119)


def json_text(value: Mapping[str, Any]) -> str:
    """JSON with an indent of two and a last newline."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def documents(manifests: Iterable[Mapping[str, Any]]) -> str:
    """YAML documents, separated by `---`, as `kubectl apply -f -` takes them."""
    return "---\n".join(yaml_text(manifest) for manifest in manifests)
