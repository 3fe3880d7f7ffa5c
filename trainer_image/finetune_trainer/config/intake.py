"""What `finetune train` is told: a file, words that change it, or flags alone -> keys, each with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune_trainer.config import flags, interpolation, zero
from finetune_trainer.config.flags import Word
from finetune_trainer.config.loader import json_lines, key_lines, load_json, load_yaml
from finetune_trainer.config.spellings import RENAMED
from finetune_trainer.config.violations import ConfigInvalid, Fault, Violation

COMMAND_LINE = "command line"
FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Keys before anyone looked at them."""

    mapping: dict[str, Any]
    places: dict[str, str]
    """Key -> where it was said, up to and with the key's own name."""
    elsewhere: str
    """Where a key would stand that nobody said, with `{}` for its name."""
    faults: tuple[Fault, ...] = ()

    def locate(self, name: str) -> str:
        """The place of a key for people."""
        return self.places.get(name) or self.elsewhere.replace("{}", name)


def of_file(path: Path) -> Given:
    """The keys of a YAML or JSON file.

    Raises:
        ConfigInvalid: the file can't be read, or holds no keys with values.
    """
    mapping, lines = _read(path)
    places = {name: f"{path}:{line}: {name}" for name, line in lines.items()}
    return Given(
        mapping={str(name): value for name, value in mapping.items()}, places=places, elsewhere=f"{path}:1: {{}}"
    )


def of_words(words: Sequence[str]) -> Given:
    """`cfg.yaml`, `cfg.json learning_rate=1e-5`, `--stage sft --do_train`, or a file with flags after it.

    Raises:
        ConfigInvalid: as `of_file`.
    """
    if words and words[0].endswith(FILES):
        return _changed(of_file(Path(words[0])), tuple(flags.read(words[1:])))
    alone = Given(mapping={}, places={}, elsewhere=f"{COMMAND_LINE}: --{{}}")
    return _changed(alone, tuple(flags.read(words)))


def filled(given: Given, *, fill: bool = True) -> Given:
    """With `${...}` filled in unless `fill` is false, and a DeepSpeed file read that is named."""
    mapping, faults = interpolation.fill(given.mapping) if fill else (dict(given.mapping), ())
    try:
        mapping |= {"deepspeed": zero.inlined(mapping["deepspeed"])} if "deepspeed" in mapping else {}
    except ValueError as error:
        del mapping["deepspeed"]
        faults = (*faults, Fault(key="deepspeed", message=str(error)))
    return Given(mapping=mapping, places=given.places, elsewhere=given.elsewhere, faults=(*given.faults, *faults))


def _changed(given: Given, words: Sequence[Word]) -> Given:
    """The words win over the file, whatever name either used for a key."""
    faults = [Fault(key=word.key, message=word.fault) for word in words if word.fault]
    today = {RENAMED.get(word.key, word.key) for word in words if "." not in word.written}
    mapping = {name: value for name, value in given.mapping.items() if RENAMED.get(name, name) not in today}
    pairs: list[str] = []
    for word in words:
        if word.pair is not None:
            fault = _unreadable(word.pair)
            faults += [Fault(key=word.key, message=fault)] if fault else []
            pairs += [] if fault else [word.pair]
    mapping = _merged(mapping, pairs) | {word.key: word.value for word in words if not word.pair and not word.fault}
    places = given.places | {word.key: f"{COMMAND_LINE}: {word.written}" for word in words}
    return Given(mapping=mapping, places=places, elsewhere=given.elsewhere, faults=tuple(faults))


def _merged(mapping: dict[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """OmegaConf's dot list over the mapping; parts of a value that was no mapping take its place."""
    if not pairs:
        return mapping
    from omegaconf import OmegaConf

    said = OmegaConf.to_container(OmegaConf.from_dotlist(list(pairs)))
    assert isinstance(said, dict)
    return {**mapping, **{str(name): _over(mapping.get(str(name)), value) for name, value in said.items()}}


def _over(old: object, new: object) -> object:
    if not isinstance(new, Mapping):
        return new
    try:
        old = zero.inlined(old)  # deepspeed: file.json, and one setting of it changed
    except ValueError:
        return new
    if not isinstance(old, Mapping):
        return new
    return {**old, **{name: _over(old.get(name), value) for name, value in new.items()}}


def _unreadable(pair: str) -> str:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        OmegaConf.from_dotlist([pair])
    except yaml.MarkedYAMLError as error:
        return f"the value is not YAML: {error.problem}"
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        return f"can't be read: {str(error).splitlines()[0]}"
    return ""


def _read(path: Path) -> tuple[dict[Any, Any], dict[str, int]]:
    kind = "JSON" if path.suffix == ".json" else "YAML"
    try:
        text = path.read_text(encoding="utf-8")
        mapping, lines = (load_json(text), json_lines) if kind == "JSON" else (load_yaml(text), key_lines)
    except (OSError, UnicodeDecodeError) as error:
        raise _whole(path, f"can't be read: {error}") from error
    except json.JSONDecodeError as error:
        raise _whole(f"{path}:{error.lineno}", f"not a JSON of keys and values: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _whole(f"{path}{line}", f"not a YAML of keys and values: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _whole(path, f"not a {kind} of keys and values: {error}") from error
    if not isinstance(mapping, dict):
        wanted = '{"learning_rate": 1e-5}' if kind == "JSON" else "`learning_rate: 1e-5`"
        raise _whole(path, f"expected keys with values, as {wanted}")
    return mapping, lines(text)


def _whole(place: Path | str, message: str) -> ConfigInvalid:
    return ConfigInvalid((Violation(path=str(place), message=message),))
