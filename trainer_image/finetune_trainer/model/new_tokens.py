"""Tokens that are added to the vocabulary, and the words that describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from finetune_trainer.config.loader import load_yaml
from finetune_trainer.config.model import ModelGroup
from finetune_trainer.failures import RunError


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTokens:
    """What the keys add."""

    ordinary: tuple[str, ...]
    special: tuple[str, ...]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """Special token -> what it means."""


def asked(group: ModelGroup) -> NewTokens:
    """The tokens of add_tokens, and of add_special_tokens or new_special_tokens_config.

    Raises:
        RunError: the file cannot be read, or is no mapping of tokens to texts.
    """
    path = group.new_special_tokens_config
    if path is None:
        return NewTokens(ordinary=group.add_tokens, special=group.add_special_tokens)
    described = _read(Path(path))
    return NewTokens(ordinary=group.add_tokens, special=tuple(described), descriptions=described)


def add(group: ModelGroup, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add them; those that the tokenizer has already stay as they are."""
    tokens = asked(group)
    if tokens.ordinary:
        tokenizer.add_tokens(list(tokens.ordinary), special_tokens=False)
    if tokens.special:
        tokenizer.add_tokens(list(tokens.special), special_tokens=True)


def wished(group: ModelGroup) -> bool:
    """Whether the keys want more embeddings than the model has."""
    return bool(group.resize_vocab or group.add_tokens or group.add_special_tokens or group.new_special_tokens_config)


def _read(path: Path) -> dict[str, str]:
    key, shape = "new_special_tokens_config", "lines such as '<think>': begins a chain of thought"
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{key}: {path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # YAML's errors, and text that is no UTF-8
        raise RunError(f"{key}: {path} is not a YAML of {shape}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(part, str) for pair in found.items() for part in pair):
        raise RunError(f"{key}: {path}: expected {shape}")
    return found
