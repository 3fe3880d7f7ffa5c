"""finetuning_type freeze: some blocks of the model move, the others stand still."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from transformers import PreTrainedModel

from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.failures import RunError
from finetune_trainer.model.tuning import blocks
from finetune_trainer.model.tuning.blocks import Blocks


def freeze(finetuning: FinetuningGroup, model: PreTrainedModel) -> None:
    """Turn off the gradients of all that stands still.

    Where LLaMA-Factory looks for `.1.` anywhere in a name, and so also moves expert 1 of every block, the block's own
    number counts here.

    Raises:
        RunError: the model has no module of a wanted name.
    """
    found = blocks.find(model)
    held = blocks.own_parameters(model)
    places = {name: found.place(name) for name in held}
    inside = {_first(place[1]) for place in places.values() if place}
    outside = {name.rpartition(".")[2] for name, place in places.items() if not place}
    _check("freeze_trainable_modules", finetuning.freeze_trainable_modules, {"all", *inside})
    _check("freeze_extra_modules", finetuning.freeze_extra_modules, outside)
    numbers, wanted = moving(finetuning, found), set(finetuning.freeze_trainable_modules)
    model.requires_grad_(requires_grad=False)
    for name, place in places.items():
        if place:
            moves = place[0] in numbers and ("all" in wanted or _first(place[1]) in wanted)
        else:
            moves = name.rpartition(".")[2] in finetuning.freeze_extra_modules
        if moves:
            for parameter in held[name]:
                parameter.requires_grad = True


def moving(finetuning: FinetuningGroup, found: Blocks) -> range:
    """Numbers of the blocks that move: the last n, the first -n, or those that LLaMA Pro has added."""
    wanted: int = finetuning.freeze_trainable_layers
    if finetuning.use_llama_pro:
        return blocks.expanded(found.count, wanted)
    if wanted >= 0:
        return range(max(0, found.count - wanted), found.count)
    return range(min(-wanted, found.count))


def _first(inside: str) -> str:
    return inside.partition(".")[0]


def _check(key: str, wanted: Iterable[str], known: Collection[str]) -> None:
    absent = [name for name in wanted if name not in known]
    if absent:
        raise RunError(f"{key}: this model has no {', '.join(absent)} there; it has {', '.join(sorted(known))}")
