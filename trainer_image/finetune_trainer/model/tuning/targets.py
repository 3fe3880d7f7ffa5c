"""Which modules get an adapter, and which are trained in full beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from transformers import PreTrainedModel

from finetune_trainer.failures import RunError
from finetune_trainer.model.tuning import blocks

OUTPUT_LAYERS = frozenset({"lm_head", "output_layer", "embed_out", "output"})
"""What models call their last layer, which `all` leaves out."""


def targets(model: nn.Module, wanted: Sequence[str], *, key: str = "lora_target") -> list[str]:
    """The names or ends of names that get an adapter; `all` means every linear layer but the output layer.

    Raises:
        RunError: the model has no module of a wanted name.
    """
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module)} - OUTPUT_LAYERS
    named = {name for name in wanted if name != "all"}
    check(model, named, key=key, known=linear)
    return sorted(named | linear if "all" in wanted else named)


def check(model: nn.Module, wanted: Iterable[str], *, key: str, known: Iterable[str]) -> None:
    """Raise if the model has no module of a wanted name or end of name; `known` are those to tell of."""
    names = [f".{name}" for name, _ in model.named_modules()]
    absent = sorted(name for name in wanted if not any(there.endswith(f".{name}") for there in names))
    if absent:
        raise RunError(f"{key}: this model has no {', '.join(absent)}; it has {', '.join(sorted(known))}")


def of_expanded(model: PreTrainedModel, chosen: Iterable[str], added: int) -> list[str]:
    """Full names of the chosen modules that lie in blocks which LLaMA Pro has added.

    Raises:
        RunError: the model's blocks cannot be parted so, or none of the modules lies in them.
    """
    found = blocks.find(model)
    numbers, ends = blocks.expanded(found.count, added), tuple(f".{name}" for name in chosen)
    names = [name for name, _ in model.named_modules() if name.endswith(ends)]
    inside = [name for name in names if (place := found.place(name)) and place[0] in numbers]
    if not inside:
        raise RunError(f"use_llama_pro: none of {', '.join(sorted(chosen))} lies in blocks {[*numbers]}")
    return inside


def embeddings(model: PreTrainedModel) -> list[str]:
    """Last names of the modules that hold a row for each token: the input's, and the output's if it has one."""
    held = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if any(module is one for one in held)}
    return sorted(names)


def _is_linear(module: nn.Module) -> bool:
    """Quantised layers are no nn.Linear, but all carry it in their name."""
    name = type(module).__name__
    return "Linear" in name and "Embedding" not in name
