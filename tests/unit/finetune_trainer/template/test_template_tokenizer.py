"""Fix-ups of the tokenizer, and that the saved chat template gives the encoder's ids."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finetune_trainer import template as templates
from finetune_trainer.examples import Encoded, Example, Message
from finetune_trainer.template.encode import EncodeOptions, encode

TOKENIZER = Path(__file__).parents[3] / "conformance" / "tokenizer"
NAMES = ("default", "alpaca", "chatml", "qwen", "llama3", "smollm2", "telechat2")
TURNS = ("Who are you?", 'I am\na "model" \\ {{ of }} 🙂.', "模型 and more ", "Yes")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(TOKENIZER)
    return loaded


def encoded(name: str, system: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[i % 2], content=text) for i, text in enumerate(TURNS))
    options = EncodeOptions(cutoff_len=2048, today=date(2026, 1, 1))
    (one,) = encode([Example(messages=messages, system=system)], templates.get(name), tokenizer, options)
    assert isinstance(one, Encoded)
    return one.input_ids


def chat(system: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(TURNS)]
    return [{"role": "system", "content": system}, *turns] if system else turns


@pytest.mark.parametrize("system", ["", "Be brief.\n"])
@pytest.mark.parametrize("name", NAMES)
def test_apply_chat_template_gives_the_ids_that_were_trained(
    name: str, system: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    templates.fix_tokenizer(tokenizer, templates.get(name))
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert saved.apply_chat_template(chat(system), return_dict=False) == encoded(name, system, tokenizer)


def test_a_prompt_for_generation_is_the_beginning_of_what_was_trained(tokenizer: PreTrainedTokenizerBase) -> None:
    templates.fix_tokenizer(tokenizer, templates.get("llama3"))
    prompt = tokenizer.apply_chat_template(chat("")[:1], add_generation_prompt=True, return_dict=False)
    assert encoded("llama3", "", tokenizer)[: len(prompt)] == prompt


def test_chatml_replaces_eos_and_adds_stop_words(tokenizer: PreTrainedTokenizerBase) -> None:
    changes = templates.fix_tokenizer(tokenizer, templates.get("chatml"))
    assert (changes.eos_token, changes.pad_token, changes.added_tokens) == ("<|im_end|>", None, 0)
    assert changes.chat_template == tokenizer.chat_template
    assert "<|im_start|>" in tokenizer.all_special_tokens


def test_the_second_call_changes_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    templates.fix_tokenizer(tokenizer, templates.get("chatml"))
    again = templates.fix_tokenizer(tokenizer, templates.get("chatml"))
    assert again == templates.TokenizerChanges(eos_token=None, pad_token=None, chat_template=None, added_tokens=0)


def test_missing_eos_and_pad_are_made(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.eos_token = None
    tokenizer.pad_token = None
    changes = templates.fix_tokenizer(tokenizer, templates.get("default"))
    assert changes.eos_token == changes.pad_token == "<|endoftext|>"
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert changes.added_tokens == (
        0 if "<|endoftext|>" in AutoTokenizer.from_pretrained(TOKENIZER).get_vocab() else 1
    )


def test_a_models_own_chat_template_stays_unless_the_template_replaces_it(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = "own"
    templates.fix_tokenizer(tokenizer, templates.get("qwen"))
    assert tokenizer.chat_template == "own"
    templates.fix_tokenizer(tokenizer, templates.get("chatml"))
    assert tokenizer.chat_template != "own"
