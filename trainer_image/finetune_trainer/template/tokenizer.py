"""What a template asks of a tokenizer: eos, pad, stop words and the chat template that is saved with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune_trainer.template.registry import Slot, Slots, Special, Template, Text, Token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FALLBACK_EOS = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerChanges:
    """What `fix_tokenizer` changed; None and 0 where nothing was."""

    eos_token: str | None
    pad_token: str | None
    chat_template: str | None
    added_tokens: int
    """Tokens that the vocabulary did not have: the model's embeddings may be too few for them."""


def fix_tokenizer(tokenizer: PreTrainedTokenizerBase, template: Template) -> TokenizerChanges:
    """Set eos, pad, stop words and chat template in place, by LLaMA-Factory's rules; a second call changes nothing.

    The first stop word becomes eos if the template says so, a missing eos becomes `<|endoftext|>`, a missing pad
    becomes eos, the other stop words become special tokens. A model's own chat template stays, unless the template
    replaces it.
    """
    before = (tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template, len(tokenizer))
    stop_words = list(template.stop_words)
    if template.replace_eos:
        tokenizer.add_special_tokens({"eos_token": stop_words.pop(0)})
    if tokenizer.eos_token_id is None:
        tokenizer.add_special_tokens({"eos_token": _FALLBACK_EOS})
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if stop_words:
        # The flag, which keeps those already there, has another name in transformers 4 and 5.
        tokenizer.add_special_tokens({"additional_special_tokens": stop_words}, False)
    if template.replace_chat_template or tokenizer.chat_template is None:
        tokenizer.chat_template = chat_template(template)
    return TokenizerChanges(
        eos_token=_changed(before[0], tokenizer.eos_token),
        pad_token=_changed(before[1], tokenizer.pad_token),
        chat_template=_changed(before[2], tokenizer.chat_template),
        added_tokens=len(tokenizer) - before[3],
    )


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, template: Template) -> list[int]:
    """The ids that end an answer, sorted: eos and the template's stop words."""
    words = [tokenizer.convert_tokens_to_ids(word) for word in template.stop_words]
    return sorted({tokenizer.eos_token_id, *words})


def chat_template(template: Template) -> str:
    """The template in Jinja, for `apply_chat_template`: system, user, assistant and tool messages, no tool lists.

    The user's slots hold the generation prompt, so `add_generation_prompt` makes no difference. The text is the
    encoder's; the ids are too, unless the tokenizer merges across the border of two slots.
    """
    default = f"{{% set system_message = {_quote(template.default_system)} %}}" if template.default_system else ""
    return (
        "{% if tools %}{{ raise_exception('this chat template knows no tools') }}{% endif %}"
        f"{_write(template.prefix, 'content')}{default}"
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system_message = messages[0]['content'] %}{% set turns = messages[1:] %}"
        "{% else %}{% set turns = messages %}{% endif %}"
        "{% if system_message is defined and system_message %}"
        f"{_write(template.system, 'system_message')}{{% endif %}}"
        "{% for message in turns %}{% set content = message['content'] %}"
        f"{{% if message['role'] == 'user' %}}{_write(template.user, 'content')}"
        f"{{% elif message['role'] == 'assistant' %}}{_write(template.assistant, 'content')}"
        f"{{% elif message['role'] == 'tool' %}}{_write(template.observation, 'content')}"
        "{% else %}{{ raise_exception('unknown role ' + message['role']) }}{% endif %}{% endfor %}"
    )


def _write(slots: Slots, content: str) -> str:
    parts = [part for slot in slots for part in _expressions(slot, content)]
    return f"{{{{ {' + '.join(parts)} }}}}" if parts else ""


def _expressions(slot: Slot, content: str) -> list[str]:
    match slot:
        case Text(text=text):
            before, found, after = text.partition("{{content}}")
            parts = [_quote(before), content if found else "", _quote(after)]
            return [part for part in parts if part not in ("", '""')]
        case Special(which=which):
            return [f"({which}_token or '')"]
        case Token(name=name):
            return [_quote(name)]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _changed(before: str | None, after: str | None) -> str | None:
    return after if after != before else None
