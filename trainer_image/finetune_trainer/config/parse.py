"""Mapping or file -> TrainConfig, or every violation at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from finetune_trainer.config import keys, rules, zero
from finetune_trainer.config.loader import key_lines, load_yaml
from finetune_trainer.config.train_config import GROUPS, TrainConfig
from finetune_trainer.config.violations import ConfigInvalid, Fault, Violation


def parse(mapping: Mapping[str, Any], *, where: str = "spec.training", complete: bool = False) -> TrainConfig:
    """Check LLaMA-Factory's keys, each by itself and against the others. Opens no file that they name.

    `complete` also asks for what a training can't do without: model, data and output_dir (in a manifest these may
    stand elsewhere). A null means the default.

    Raises:
        ConfigInvalid: with a violation for every wrong key, at `<where>.<key>`.
    """
    return _check(mapping, lambda name: f"{where}.{name}", complete=complete)


def load(path: Path | str, *, complete: bool = True) -> TrainConfig:
    """Read a YAML file of LLaMA-Factory's keys; a DeepSpeed file that it names is read into `deepspeed`.

    Raises:
        ConfigInvalid: as `parse`, at `<file>:<line>: <key>`; or the file can't be read.
    """
    path = Path(path)
    mapping, lines = _read(path)
    faults: list[Fault] = []
    try:
        mapping |= {"deepspeed": zero.inlined(mapping["deepspeed"])} if "deepspeed" in mapping else {}
    except ValueError as error:
        del mapping["deepspeed"]
        faults.append(Fault(key="deepspeed", message=str(error)))
    return _check(mapping, lambda name: f"{path}:{lines.get(name, 1)}: {name}", complete=complete, faults=faults)


def dump(cfg: TrainConfig) -> dict[str, Any]:
    """The keys that the user said, with today's names and as plain values: `parse(dump(cfg)) == cfg`."""
    said: dict[str, Any] = {}
    for attribute, group in GROUPS.items():
        values = getattr(cfg, attribute)
        for name in group.model_fields:
            if name in values.model_fields_set:
                value = getattr(values, name)
                said[name] = list(value) if isinstance(value, tuple) else value
    return said


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = path.read_text(encoding="utf-8")
        mapping, lines = load_yaml(text), key_lines(text)
    except (OSError, UnicodeDecodeError) as error:
        raise _whole(path, f"can't be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _whole(f"{path}{line}", f"not a YAML of keys and values: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _whole(path, f"not a YAML of keys and values: {error}") from error
    if not isinstance(mapping, dict):
        raise _whole(path, "expected keys with values, as `learning_rate: 1e-5`")
    return mapping, lines


def _check(
    mapping: Mapping[str, Any], locate: Callable[[str], str], *, complete: bool, faults: list[Fault] | None = None
) -> TrainConfig:
    checked = keys.check(mapping)
    cfg = TrainConfig.model_validate(checked.groups)
    found = [*(faults or ()), *checked.faults, *rules.broken(cfg, wrong=checked.wrong, complete=complete)]
    if found:
        order = {str(name): place for place, name in enumerate(mapping)}
        said = [
            (fault.key if fault.key in order else checked.spelled.get(fault.key, fault.key), fault) for fault in found
        ]
        said.sort(key=lambda item: order.get(item[0], len(order)))
        raise ConfigInvalid(tuple(Violation(path=locate(name), message=fault.message) for name, fault in said))
    return cfg


def _whole(place: Path | str, message: str) -> ConfigInvalid:
    return ConfigInvalid((Violation(path=str(place), message=message),))
