"""Where a model's repeated blocks are, and which of them LLaMA Pro has added."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from finetune_trainer.failures import RunError

_NUMBERED = re.compile(r"^(.*?)\.(\d+)\.")
_COUNTS = ("num_hidden_layers", "num_layers", "n_layer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """The blocks are `<prefix>.0` to `<prefix>.<count - 1>`."""

    prefix: str
    count: int

    def place(self, name: str) -> tuple[int, str] | None:
        """A module's or parameter's block and its name inside; None: it lies outside of all blocks."""
        head = f"{self.prefix}."
        if not name.startswith(head):
            return None
        number, _, inside = name.removeprefix(head).partition(".")
        return (int(number), inside) if number.isdecimal() else None


def find(model: PreTrainedModel) -> Blocks:
    """The blocks of the language model.

    Raises:
        RunError: its configuration does not say how many there are, or none of its lists has as many.
    """
    count = layers(model)
    found: dict[str, set[int]] = defaultdict(set)
    for name, _ in model.named_parameters():
        if match := _NUMBERED.match(name):
            found[match[1]].add(int(match[2]))
    for prefix, numbers in found.items():
        if len(numbers) == count:
            return Blocks(prefix=prefix, count=count)
    raise RunError(f"finetuning_type: this model has no list of {count} blocks; take lora or full")


def layers(model: PreTrainedModel) -> int:
    """How many blocks the configuration says there are."""
    config = model.config.get_text_config()
    for name in _COUNTS:
        if count := getattr(config, name, None):
            return int(count)
    raise RunError(f"finetuning_type: {type(model).__name__} does not say how many layers it has; take lora or full")


def expanded(count: int, added: int) -> range:
    """The blocks that LLaMA Pro's expansion has added: of `count`, the last of each of `added` equal groups.

    Raises:
        RunError: `count` blocks do not come in so many groups.
    """
    if added < 1 or count % added:
        raise RunError(
            f"freeze_trainable_layers: use_llama_pro needs the number of blocks that were added, which divides the "
            f"model's {count}; got {added}"
        )
    stride = count // added
    return range(stride - 1, count, stride)


def own_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Module -> the parameters that it holds itself; a tied one stands with each of its modules."""
    held = {name: list(module.parameters(recurse=False)) for name, module in model.named_modules()}
    return {name: parameters for name, parameters in held.items() if parameters}
