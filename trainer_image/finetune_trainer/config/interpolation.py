r"""`${...}` in values: filled in by OmegaConf in files and on the command line, by hand in a manifest.

A manifest is read by the operator, whose environment is not the user's: there only `${key}` of another key is filled
in, one level deep and with short plain values, so that a manifest can neither read what it should not nor grow without
end. Everywhere `\${` stands for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_trainer.config.violations import Fault

_REFERENCE = re.compile(r"(\\?)\$\{([^{}]*)\}?")
_LONGEST = 200


def wanted(value: object) -> bool:
    """Whether a value holds `${`, at any depth."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(wanted(part) for part in value.values())
    return isinstance(value, list | tuple) and any(wanted(part) for part in value)


def fill(mapping: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Fill in what OmegaConf knows: `${key}`, `${oc.env:NAME,default}`, at any depth.

    Returns:
        the keys that could be filled in, and a fault for each of the others.
    """
    if not wanted(mapping):
        return dict(mapping), ()
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    sound: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in mapping.items():  # one by one: OmegaConf stops at the first value that it can't read
        try:
            OmegaConf.create({name: value})
            sound[name] = value
        except OmegaConfBaseException as error:
            faults.append(_unfilled(name, error))
    tree = OmegaConf.create(sound)
    filled: dict[str, Any] = {}
    for name in sound:
        try:
            value = tree[name]
            filled[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException as error:
            faults.append(_unfilled(name, error))
    return filled, tuple(faults)


def fill_plain(mapping: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Fill in `${key}` of other keys of a manifest, and nothing else.

    Returns:
        the keys that could be filled in, and a fault for each of the others.
    """
    filled: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in mapping.items():
        try:
            filled[name] = _plain(value, mapping) if wanted(value) else value
        except ValueError as error:
            faults.append(Fault(key=str(name), message=str(error)))
    return filled, tuple(faults)


def _plain(value: Any, mapping: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever a manifest holds
    if isinstance(value, Mapping):
        return {name: _plain(part, mapping) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, mapping) for part in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole and not whole[1]:
        return _referred(whole[2], mapping)
    return "".join(_pieces(value, mapping))


def _pieces(text: str, mapping: Mapping[str, Any]) -> Iterator[str]:
    end = 0
    for found in _REFERENCE.finditer(text):
        yield text[end : found.start()]
        yield found[0][1:] if found[1] else str(_referred(found[2], mapping))
        end = found.end()
    yield text[end:]


def _referred(name: str, mapping: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a plain value of whatever type
    if ":" in name or name not in mapping:
        raise ValueError(
            f"${{{name}}} can't be filled in: in a manifest only ${{key}} of another key under training can, and the "
            "operator's environment is not yours; write the value itself"
        )
    value = mapping[name]
    if wanted(value) or isinstance(value, Mapping | list | tuple) or len(str(value)) > _LONGEST:
        raise ValueError(f"${{{name}}} can't be filled in: {name} is no short plain value; write the value itself")
    return value


def _unfilled(name: str, error: Exception) -> Fault:
    reason = str(error).splitlines()[0].strip()
    return Fault(key=name, message=f"${{...}} can't be filled in: {reason}; for a plain ${{ in the text write \\${{")
