"""Ollama's Modelfile: how a conversation is written, for a program that does not read chat templates.

Source: LLaMA-Factory data/template.py (get_ollama_modelfile), which stops at templates with a token slot. Tools are
not told in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune_trainer import template
from finetune_trainer.template.registry import Slots, Special, Template, Text
from finetune_trainer.template.slots import CONTENT, TURN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "Modelfile"
_CONTEXT = 4096
"""Tokens; Ollama's users raise it."""


def write(fits: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of the Modelfile."""

    def shown(slots: Slots, placeholder: str = "") -> str:
        return _shown(slots, tokenizer, placeholder)

    system = shown(fits.system, ".System")
    user, assistant = shown(fits.user, ".Content"), shown(fits.assistant, ".Content")
    body = (
        f"{shown(fits.prefix)}{{{{ if .System }}}}{system}{{{{ end }}}}"
        f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
        f'{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ end }}}}{{{{ end }}}}'
    )
    parts = ["# written by finetune export", "FROM .", f'TEMPLATE """{body}"""']
    if fits.default_system:
        parts.append(f'SYSTEM """{fits.default_system}"""')
    stops = tokenizer.convert_ids_to_tokens(template.stop_token_ids(tokenizer, fits))
    parameters = [*(f'PARAMETER stop "{stop}"' for stop in stops), f"PARAMETER num_ctx {_CONTEXT}"]
    return "\n\n".join([*parts, "\n".join(parameters)]) + "\n"


def _shown(slots: Slots, tokenizer: PreTrainedTokenizerBase, placeholder: str) -> str:
    texts: list[str] = []
    for slot in slots:
        if isinstance(slot, Text):
            texts.append(slot.text.replace(CONTENT, f"{{{{ {placeholder} }}}}").replace(TURN, ""))
        elif isinstance(slot, Special):
            texts.append((tokenizer.bos_token if slot.which == "bos" else tokenizer.eos_token) or "")
        else:
            texts.append(slot.name)
    return "".join(texts)
