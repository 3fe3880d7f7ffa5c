"""Examples to token ids and labels, slot by slot as LLaMA-Factory does it (data/processor/supervised.py of 0.9.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from finetune_trainer.examples import IGNORE_INDEX, BadRow, Encoded, Example
from finetune_trainer.template.registry import Slot, Slots, Special, Template, TemplateInvalid, Text, Token
from finetune_trainer.template.render import render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeOptions:
    """What train.yaml says about the way from text to labels."""

    cutoff_len: int
    train_on_prompt: bool = False
    mask_history: bool = False
    today: date
    """Printed by the tool lists of dated formats (llama3)."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A source (user, observation) and its target (assistant, function), as ids."""

    source: list[int]
    target: list[int]


def check(template: Template, tokenizer: PreTrainedTokenizerBase, options: EncodeOptions) -> None:
    """Refuse what cannot be encoded, before any row is read.

    Raises:
        TemplateInvalid: train_on_prompt with a template whose eos is efficient, as in LLaMA-Factory; a token that the
            vocabulary lacks.
    """
    if options.train_on_prompt and template.efficient_eos:
        raise TemplateInvalid(
            f"train_on_prompt: not possible with template {template.name!r}; write train_on_prompt: false"
        )
    slots = (template.prefix, template.user, template.assistant, template.system, template.observation)
    for slot in (slot for role in (*slots, template.function) for slot in role):
        if isinstance(slot, Token) and slot.name not in tokenizer.get_vocab():
            raise TemplateInvalid(
                f"template {template.name!r}: the tokenizer has no token {slot.name!r}; is it the model's?"
            )


def encode(
    examples: Sequence[Example], template: Template, tokenizer: PreTrainedTokenizerBase, options: EncodeOptions
) -> list[Encoded | BadRow]:
    """Encode examples; their distinct texts go through the tokenizer in one call, each slot by itself.

    The tokenizer has gone through `fix_tokenizer`. An example whose tools or calls are not JSON becomes a BadRow.
    """
    rendered = [_try_render(example, template, options.today) for example in examples]
    ids = _tokenise((slots for one in rendered if not isinstance(one, BadRow) for slots in one), tokenizer)
    return [
        one if isinstance(one, BadRow) else _label(_turns(one, ids), template, tokenizer, options) for one in rendered
    ]


def infer_seqlen(source_len: int, target_len: int, budget: int) -> tuple[int, int]:
    """How many tokens of source and target to keep: the shorter one whole if it fills less than half the budget.

    Source: LLaMA-Factory, data/processor/processor_utils.py.
    """
    if target_len * 2 < budget:
        most = budget
    elif source_len * 2 < budget:
        most = budget - source_len
    else:
        most = int(budget * (target_len / (source_len + target_len)))  # floats: the reference's rounding
    kept_target = min(most, target_len)
    return min(max(budget - kept_target, 0), source_len), kept_target


def _try_render(example: Example, template: Template, today: date) -> list[Slots] | BadRow:
    try:
        return render(example, template, today)
    except ValueError as error:
        return BadRow(reason=str(error))


def _tokenise(messages: Iterable[Slots], tokenizer: PreTrainedTokenizerBase) -> Mapping[Slot, list[int]]:
    slots = dict.fromkeys(slot for slots in messages for slot in slots)
    texts = [slot.text for slot in slots if isinstance(slot, Text) and slot.text]
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False) if texts else None
    ids: dict[Slot, list[int]] = dict(zip(map(Text, texts), encoded["input_ids"], strict=True)) if encoded else {}
    return ids | {slot: _single_id(slot, tokenizer) for slot in slots if slot not in ids}


def _single_id(slot: Slot, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    match slot:
        case Special(which="bos"):
            number = tokenizer.bos_token_id
        case Special(which="eos"):
            number = tokenizer.eos_token_id
        case Token(name=name):
            number = tokenizer.convert_tokens_to_ids(name)
        case _:
            number = None
    return [] if number is None else [number]


def _turns(messages: Sequence[Slots], ids: Mapping[Slot, list[int]]) -> list[_Turn]:
    flat = [[number for slot in slots for number in ids[slot]] for slots in messages]
    return [_Turn(source, target) for source, target in zip(flat[::2], flat[1::2], strict=True)]


def _label(
    turns: Sequence[_Turn], template: Template, tokenizer: PreTrainedTokenizerBase, options: EncodeOptions
) -> Encoded:
    # The last turn gets the budget first when it alone is learned.
    order = list(reversed(turns)) if options.mask_history else list(turns)
    end = [tokenizer.eos_token_id] if template.efficient_eos else []
    used = len(end)
    input_ids: list[list[int]] = []
    labels: list[list[int]] = []
    for index, turn in enumerate(order):
        if used >= options.cutoff_len:
            break
        kept = _Turn(*_cut(turn, options.cutoff_len - used))
        used += len(kept.source) + len(kept.target)
        input_ids.append(kept.source + kept.target)
        labels.append(_source_labels(kept.source, index, end, options) + _target_labels(kept.target, index, options))
    if options.mask_history:
        input_ids.reverse()
        labels.reverse()
    wanted = sum(len(turn.source) + len(turn.target) for turn in turns) + len(end)
    return Encoded(input_ids=_join(input_ids) + end, labels=_join(labels) + end, truncated=used < wanted)


def _cut(turn: _Turn, budget: int) -> tuple[list[int], list[int]]:
    source_len, target_len = infer_seqlen(len(turn.source), len(turn.target), budget)
    return turn.source[:source_len], turn.target[:target_len]


def _source_labels(source: list[int], index: int, end: list[int], options: EncodeOptions) -> list[int]:
    if options.train_on_prompt:
        return source
    ignored = [IGNORE_INDEX] * len(source)
    # Efficient eos: where the next turn begins, the model learns to have ended.
    return (end + ignored)[: len(source)] if index else ignored


def _target_labels(target: list[int], index: int, options: EncodeOptions) -> list[int]:
    return [IGNORE_INDEX] * len(target) if options.mask_history and index else target


def _join(lists: Iterable[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]
