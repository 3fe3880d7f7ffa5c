"""Pure: which weights move, by the rules of model.tuning; and how much an adapter adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.sizing import parameters
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.parameters import Weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What learns. Counts are of numbers."""

    base: int
    """Weights of the model itself."""
    cast: int
    """Those of them that autocast copies to half precision for a step."""
    adapters: int
    """Weights put in beside the model's."""
    largest: int
    """The largest single weight that learns."""
    targets: frozenset[str]
    """Names of the layers that carry an adapter."""
    rank: int
    """Of the adapters, 0 without."""
    lowest: int
    """The lowest layer with something that learns: below it nothing is kept for the backward pass."""
    embeddings: bool
    """Whether the embeddings learn."""
    head: bool
    """Whether the output layer learns."""

    @property
    def total(self) -> int:
        """Numbers that learn."""
        return self.base + self.adapters


class TargetUnknown(ValueError):
    """A key names layers that this model has not."""


def of(cfg: TrainConfig, model: Architecture) -> Trained:
    """What `finetuning_type` and its keys let learn.

    Raises:
        TargetUnknown: a key names a layer that the model has not.
    """
    match cfg.finetuning.finetuning_type:
        case "full":
            return _full(model)
        case "freeze":
            return _freeze(cfg.finetuning, model)
        case _:
            return _adapters(cfg, model)


def moving(keys: FinetuningGroup, layers: int) -> range:
    """Layers that freeze lets move: the last n, the first -n, or those that LLaMA Pro has added."""
    wanted: int = keys.freeze_trainable_layers
    if keys.use_llama_pro:
        stride = max(1, layers // max(1, wanted))
        return range(stride - 1, layers, stride)
    return range(max(0, layers - wanted), layers) if wanted >= 0 else range(min(-wanted, layers))


def _full(model: Architecture) -> Trained:
    return _some(model, list(parameters.weights(model)), lowest=0, embeddings=True, head=True)


def _freeze(keys: FinetuningGroup, model: Architecture) -> Trained:
    numbers, wanted = moving(keys, model.layers), set(keys.freeze_trainable_modules)
    extra = set(keys.freeze_extra_modules)
    inside = [
        weight
        for number in numbers
        for weight in parameters.layer(model, number)
        if "all" in wanted or weight.part in wanted
    ]
    beside = [weight for weight in parameters.outside(model) if weight.name in extra]
    embeddings = any(weight.group == "embeddings" for weight in beside)
    lowest = 0 if embeddings else min(numbers, default=model.layers) if inside else model.layers
    head = any(weight.group == "head" for weight in beside) or (model.tied and embeddings)
    return _some(model, [*inside, *beside], lowest=lowest, embeddings=embeddings, head=head)


def _some(model: Architecture, moved: list[Weight], *, lowest: int, embeddings: bool, head: bool) -> Trained:
    tied = parameters.outside(model)[0].count if model.tied and embeddings else 0
    return Trained(
        base=sum(weight.count for weight in moved),
        cast=sum(weight.cast for weight in moved) + tied,
        adapters=0,
        largest=max((weight.count for weight in moved), default=0),
        targets=frozenset(),
        rank=0,
        lowest=lowest,
        embeddings=embeddings,
        head=head,
    )


def _adapters(cfg: TrainConfig, model: Architecture) -> Trained:
    keys = cfg.finetuning
    wanted = _targets(keys.oft_target if keys.finetuning_type == "oft" else keys.lora_target, model)
    layers = moving(keys, model.layers) if keys.use_llama_pro else range(model.layers)
    carried = [
        weight for number in layers for weight in parameters.layer(model, number) if weight.name in wanted
    ]  # fmt: skip
    beside = [weight for weight in parameters.outside(model) if weight.name in wanted and weight.name != "norm"]
    copies = list(_copies(cfg, model))
    sizes = [_adapter(keys, weight) for weight in (*carried, *beside)]
    whole = sum(weight.count for weight in copies)
    return Trained(
        base=0,
        cast=sum(weight.cast for weight in copies) + sum(sizes),
        adapters=sum(sizes) + whole,
        largest=max((*sizes, *(weight.count for weight in copies)), default=0),
        targets=frozenset(weight.name for weight in (*carried, *beside)),
        rank=keys.lora_rank if keys.finetuning_type == "lora" else 0,
        lowest=0 if copies else min(layers, default=model.layers),
        embeddings=any(weight.group == "embeddings" for weight in copies),
        head=any(weight.group == "head" for weight in copies),
    )


def _targets(said: tuple[str, ...], model: Architecture) -> frozenset[str]:
    known = {weight.name for weight in parameters.weights(model)}
    linear = {
        weight.name for number in range(model.layers) for weight in parameters.layer(model, number) if weight.linear
    }
    named = {name.rpartition(".")[2] for name in said if name != "all"}
    absent = sorted(named - known)
    if absent:
        raise TargetUnknown(
            f"lora_target: a model of type {model.kind} has no {', '.join(absent)}; it has {', '.join(sorted(linear))}"
        )
    return frozenset(named | linear if "all" in said else named)


def _adapter(keys: FinetuningGroup, weight: Weight) -> int:
    """LoRA: rank x (inputs + outputs), and DoRA a magnitude for each output. OFT: half of each square block."""
    if keys.finetuning_type == "oft":
        block = keys.oft_block_size if not keys.oft_rank else -(-weight.inputs // keys.oft_rank)
        return -(-weight.inputs // block) * block * (block - 1) // 2
    return keys.lora_rank * (weight.inputs + weight.outputs) + (weight.outputs if keys.use_dora else 0)


def _copies(cfg: TrainConfig, model: Architecture) -> Iterator[Weight]:
    """Modules trained whole beside the adapter; new tokens bring embeddings and output layer, tied or not."""
    wanted = set(cfg.finetuning.additional_target)
    keys = cfg.model
    grows = keys.resize_vocab or keys.add_tokens or keys.add_special_tokens or keys.new_special_tokens_config
    outside = parameters.outside(model)
    for weight in outside:
        if weight.name in wanted or (grows and weight.group in ("embeddings", "head")):
            yield weight
    if grows and model.tied:
        yield outside[0]
