"""Talking to a model, to look at what became of it: one greedy answer, or a conversation on a terminal.

Law: loads and generates; knows nothing of training. Prompts are written with the chat template that was saved with the
adapter or the model, unless a template is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, TextStreamer

from finetune_trainer import quiet, template
from finetune_trainer.failures import RunError
from finetune_trainer.model.precision import DTYPE_ARGUMENT
from finetune_trainer.model.sources import named

Turns = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Whom somebody wants to talk to."""

    model: str
    """A folder, or a name at the hub."""
    adapter: str | None = None
    template: str | None = None
    """Prompts are written as this template does, not as the model's own."""
    trust_remote_code: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """A model that answers."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_ids: list[int]
    max_new_tokens: int

    def answer(self, turns: Turns, *, streamer: TextStreamer | None = None) -> str:
        """The next turn, greedily."""
        prompt = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        inputs = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(self.model.device)
        length = inputs["input_ids"].shape[1]
        generate = cast("Callable[..., torch.Tensor]", self.model.generate)  # one of transformers' many modes
        with torch.inference_mode():
            output = generate(
                **inputs,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self.max_new_tokens,
                eos_token_id=self.stop_ids,
                pad_token_id=self.tokenizer.pad_token_id,
                streamer=streamer,
            )
        return str(self.tokenizer.decode(output[0, length:], skip_special_tokens=True)).strip()


def answer(asked: Asked, prompts: Sequence[str], *, max_new_tokens: int = 256) -> list[str]:
    """One greedy answer to each prompt, each in a conversation of its own.

    Raises:
        ModelNotFound: the model or the adapter is not there.
        RunError: the model brings no chat template and none was named.
    """
    speaker = load(asked, max_new_tokens=max_new_tokens)
    return [speaker.answer([{"role": "user", "content": prompt}]) for prompt in prompts]


def talk(asked: Asked, *, max_new_tokens: int = 512) -> None:
    """A conversation on the terminal, word by word, until the end of input or `exit`; `clear` begins anew."""
    console = Console(highlight=False)
    with console.status("loading the model"):
        speaker = load(asked, max_new_tokens=max_new_tokens)
    console.print("[dim]clear begins a new conversation, exit or Ctrl-D ends[/]")
    turns: Turns = []
    while (said := _ask(console)) is not None:
        if said == "clear":
            turns = []
        elif said:
            turns.append({"role": "user", "content": said})
            streamer = TextStreamer(speaker.tokenizer, skip_prompt=True, skip_special_tokens=True)
            turns.append({"role": "assistant", "content": speaker.answer(turns, streamer=streamer)})


def load(asked: Asked, *, max_new_tokens: int) -> Speaker:
    """Load a model, and an adapter over it, for talking.

    Raises:
        ModelNotFound: the model or the adapter is not there.
        RunError: the model brings no chat template and none was named.
    """
    quiet.hush()
    tokenizer, stop_ids = _tokenizer(asked)
    arguments: dict[str, Any] = {DTYPE_ARGUMENT: "auto" if torch.cuda.is_available() else torch.float32}
    with named(asked.model, "model") as source:
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, trust_remote_code=asked.trust_remote_code, **arguments
        )
    if asked.adapter is not None:
        from peft import PeftModel

        with named(asked.adapter, "adapter") as source:
            model = PeftModel.from_pretrained(model, source)
    if torch.cuda.is_available():
        model = model.cuda()
    return Speaker(model=model.eval(), tokenizer=tokenizer, stop_ids=stop_ids, max_new_tokens=max_new_tokens)


def _tokenizer(asked: Asked) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """The tokenizer saved with the adapter where there is one, and the ids that end an answer."""
    trained = asked.adapter if asked.adapter and (Path(asked.adapter) / "tokenizer_config.json").exists() else None
    with named(trained or asked.model, "adapter" if trained else "model") as source:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=asked.trust_remote_code)
    if asked.template is not None:
        chosen = dataclasses.replace(template.get(asked.template), replace_chat_template=True)
        template.fix_tokenizer(tokenizer, chosen)
        return tokenizer, template.stop_token_ids(tokenizer, chosen)
    if tokenizer.chat_template is None:
        raise RunError("this model brings no chat template: name one, e.g. --template qwen")
    return tokenizer, [tokenizer.eos_token_id]


def _ask(console: Console) -> str | None:
    try:
        said = console.input("\n[bold cyan]you:[/] ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return None if said == "exit" else said
