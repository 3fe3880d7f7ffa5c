"""spec.podTemplate over our template, by the rules of Kubernetes' strategic merge.

Maps merge key by key and `null` takes a key away. Lists of named things merge by that name (a volume or a variable
with another source gives up the old one); tolerations are appended; any other list is replaced.
Source: k8s.io/api/core/v1, patchStrategy and patchMergeKey of PodTemplateSpec; without its `$patch` directives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from finetune_operator.render.metadata import Manifest

ROOT: Final = "spec.podTemplate"

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "resourceClaims": "name",
    "schedulingGates": "name",
}
"""List -> the field that names its items."""

ONE_SOURCE: Final = frozenset({"volumes", "env"})
"""Items that have exactly one source: a new source replaces the old one instead of standing beside it."""

APPENDED: Final = frozenset({"tolerations"})


class OverlayInvalid(ValueError):
    """The overlay can't be merged: `path` of the field, and what is wrong with it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def merge(template: Manifest, patch: Mapping[str, Any], *, keep: str) -> Manifest:
    """The template with the overlay on it; neither is changed.

    Args:
        template: Ours.
        patch: spec.podTemplate.
        keep: The container that must stay.

    Raises:
        OverlayInvalid: a list item without its name, a list where a map belongs, or the overlay takes `keep` away.
    """
    merged = _maps(template, patch, ROOT)
    containers = (merged.get("spec") or {}).get("containers") or []
    if keep not in {container["name"] for container in containers}:
        raise OverlayInvalid(f"{ROOT}.spec.containers", f"the container {keep} is the trainer's and must stay")
    return merged


def _maps(base: Mapping[str, Any], patch: Mapping[str, Any], path: str) -> Manifest:
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _values(key, base.get(key), value, f"{path}.{key}")
    return merged


def _values(key: str, base: object, patch: object, path: str) -> object:
    """`patch` at its place; where the base has nothing, it is still merged into nothing, so that nulls go."""
    if isinstance(base, list | dict) and not isinstance(patch, type(base)):
        raise OverlayInvalid(path, f"expected a {_word(base)}, got {patch!r}")
    if isinstance(patch, dict):
        return _maps(base if isinstance(base, dict) else {}, patch, path)
    if isinstance(patch, list):
        return _lists(key, base if isinstance(base, list) else [], patch, path)
    return patch


def _lists(key: str, base: list[Any], patch: list[Any], path: str) -> list[Any]:
    if key in MERGE_KEYS:
        return _named(key, base, patch, path)
    return [*base, *patch] if key in APPENDED else list(patch)


def _named(key: str, base: list[Any], patch: list[Any], path: str) -> list[Any]:
    """Items in the base's order, new ones at the end."""
    by = MERGE_KEYS[key]
    items = {item[by]: item for item in base}
    for index, item in enumerate(patch):
        where = f"{path}[{index}]"
        if not isinstance(item, dict) or by not in item:
            raise OverlayInvalid(where, f"needs `{by}`, which says which item is meant")
        old = items.get(item[by], {})
        kept = {field: value for field, value in old.items() if field in item} if key in ONE_SOURCE else old
        items[item[by]] = _maps(kept, item, where)
    return list(items.values())


def _word(value: object) -> str:
    return "list" if isinstance(value, list) else "map"
