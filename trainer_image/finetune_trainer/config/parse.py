"""Mapping or file -> TrainConfig, or every violation at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_trainer.config import foreign, intake, interpolation, keys, rules
from finetune_trainer.config.intake import Given
from finetune_trainer.config.spellings import RENAMED
from finetune_trainer.config.train_config import GROUPS, TrainConfig
from finetune_trainer.config.violations import ConfigInvalid, Violation


def parse(mapping: Mapping[str, Any], *, where: str = "spec.training", complete: bool = False) -> TrainConfig:
    """Check LLaMA-Factory's keys, each by itself and against the others. Opens no file that they name.

    `complete` also asks for what a training can't do without: model, data and output_dir (in a manifest these may
    stand elsewhere). A null means the default. `${key}` of another key is filled in, the environment never.

    Raises:
        ConfigInvalid: with a violation for every wrong key, at `<where>.<key>`.
    """
    plain, faults = interpolation.fill_plain(mapping)
    return _check(
        Given(mapping=plain, places={}, elsewhere=f"{where}.{{}}", faults=faults), complete=complete, order=mapping
    )


def load(path: Path | str, *, complete: bool = True, fill: bool = True) -> TrainConfig:
    """Read a YAML or JSON file of LLaMA-Factory's keys; a DeepSpeed file that it names is read into `deepspeed`.

    `fill` fills in `${...}` as OmegaConf does; without it such text stands for itself, as in what `dump` wrote.

    Raises:
        ConfigInvalid: as `parse`, at `<file>:<line>: <key>`; or the file can't be read.
    """
    given = intake.of_file(Path(path))
    return _check(intake.filled(given, fill=fill), complete=complete, order=given.mapping)


def from_words(words: Sequence[str], *, complete: bool = True) -> TrainConfig:
    """Read what a command line says: a file, `key=value` and flags over it, or flags alone.

    Raises:
        ConfigInvalid: as `load`; what a word says, at `command line: <word>`.
    """
    given = intake.of_words(words)
    return _check(intake.filled(given), complete=complete, order=given.mapping)


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


def _check(given: Given, *, complete: bool, order: Iterable[str]) -> TrainConfig:
    alien = foreign.recognise(given.mapping)
    if alien is not None:
        raise ConfigInvalid((Violation(path=given.locate(alien[0]), message=alien[1]),))
    checked = keys.check(_with_intent(given.mapping) if complete else given.mapping)
    cfg = TrainConfig.model_validate(checked.groups)
    unread = frozenset(RENAMED.get(fault.key, fault.key) for fault in given.faults)
    found = [*given.faults, *checked.faults, *rules.broken(cfg, wrong=checked.wrong | unread, complete=complete)]
    if found:
        places = {str(name): place for place, name in enumerate(dict.fromkeys((*order, *given.places)))}
        said = [
            (fault.key if fault.key in places else checked.spelled.get(fault.key, fault.key), fault) for fault in found
        ]
        said.sort(key=lambda item: places.get(item[0], len(places)))
        raise ConfigInvalid(tuple(Violation(path=given.locate(name), message=fault.message) for name, fault in said))
    return cfg


def _with_intent(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """LLaMA-Factory trains only when told to, we unless told not to; but not where nothing is named to train on."""
    rows = mapping.get("dataset") or mapping.get("tokenized_path")
    looks = mapping.get("do_predict") is True or mapping.get("do_eval") is True
    if mapping.get("do_train") is None and looks and not rows:
        return {**mapping, "do_train": False}
    return mapping
