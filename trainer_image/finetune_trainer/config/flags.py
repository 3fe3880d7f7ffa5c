"""Pure: words of a command line -> keys with values, as HfArgumentParser and OmegaConf's dot lists take them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_trainer.config.spellings import RENAMED
from finetune_trainer.config.train_config import FIELDS
from finetune_trainer.config.types import Kind, kinds

_NEGATIVE = re.compile(r"-(\d|\.\d)")
_TRUE = frozenset({"yes", "true", "t", "y", "1"})
_FALSE = frozenset({"no", "false", "f", "n", "0"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One key said on the command line, by a flag with its values or by `key=value`."""

    key: str
    """As TrainConfig spells keys, without the parts after a dot."""
    written: str
    """As the user wrote it, for messages: `--learning-rate`, `deepspeed.stage`."""
    value: Any = None
    """Of a flag."""
    pair: str | None = None
    """The whole word where it is `key=value` or `key.part=value`."""
    fault: str = ""
    """What is wrong with it, whatever the key."""


def read(words: Sequence[str]) -> Iterator[Word]:
    """Each key, in the order of the words; a word that is neither flag nor `key=value` comes with a fault."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("-"):
            yield _pair(word)
            continue
        if not word.startswith("--") or word == "--":
            yield Word(key=word, written=word, fault="expected --key value, or key=value")
            continue
        name, said, inline = word.removeprefix("--").partition("=")
        key, negated = _positive(name.replace("-", "_"))
        values = [inline] if said else list(_values(words[at:], most=0 if negated else _most(key)))
        at += 0 if said else len(values)
        yield _flag(key, f"--{name}", values, negated=negated)


def _pair(word: str) -> Word:
    name, said, _ = word.partition("=")
    if not said or not name:
        return Word(key=word, written=word, fault="expected --key value, or key=value")
    return Word(key=re.split(r"[.\[]", name)[0], written=name, pair=word)


def _flag(key: str, written: str, values: Sequence[str], *, negated: bool) -> Word:
    known = _kinds(key)
    if negated:
        fault = "takes no value; leave the value out" if values else ""
        return Word(key=key, written=written, value=False, fault=fault)
    if not values:
        needed = known and "boolean" not in known
        return Word(key=key, written=written, value=True, fault="expected a value after it" if needed else "")
    return Word(key=key, written=written, value=_typed(values, known))


def _typed(values: Sequence[str], known: tuple[Kind, ...]) -> Any:  # noqa: ANN401 - whatever a key holds
    """Text is left to the key's own type, but for truth, for nothing and for lists of several words."""
    if len(values) > 1:
        return [part.strip() for value in values for part in value.split(",") if part.strip()]
    (value,) = values
    if value in ("null", "None"):
        return None
    if "boolean" in known:
        only = known == ("boolean",)
        if value.lower() in (_TRUE if only else {"true"}):
            return True
        if value.lower() in (_FALSE if only else {"false"}):
            return False
    return value


def _values(words: Sequence[str], *, most: int) -> Iterator[str]:
    for taken, word in enumerate(words):
        flag = word.startswith("-") and not _NEGATIVE.match(word) and word != "-"
        override = taken > 0 and re.split(r"[=.]", word)[0] in FIELDS and "=" in word
        if taken == most or flag or override:
            return
        yield word


def _most(key: str) -> int:
    return 1_000_000 if "array" in _kinds(key) else 1


def _positive(key: str) -> tuple[str, bool]:
    """`no_double_quantization` -> double_quantization, and that it is negated."""
    positive = key.removeprefix("no_")
    if key in FIELDS or key in RENAMED or positive == key or _kinds(positive) != ("boolean",):
        return key, False
    return positive, True


def _kinds(key: str) -> tuple[Kind, ...]:
    name = RENAMED.get(key, key)
    return kinds(FIELDS[name][1].annotation) if name in FIELDS else ()
