"""Pure: the memory of one rank of a training.

Optimisers, gradients and weights are counted (`states`), activations and scores are derived tensor by tensor
(`activations`, `logits`). Only what PyTorch does not see is assumed (`machine`). All bytes are of one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from finetune_trainer.config import TrainConfig, checkpointing
from finetune_trainer.sizing import (
    buffers,
    layout,
    logits,
    machine,
    moments,
    numbers,
    parameters,
    states,
    trained,
)
from finetune_trainer.sizing.activations import Way
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.machine import Machine
from finetune_trainer.sizing.moments import Parts, Step
from finetune_trainer.sizing.states import States

_PAIRS = ("dpo", "rm")


class NotSized(ValueError):
    """A training whose memory is not known here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """How much memory a rank takes."""

    moment: str
    """When it takes most."""
    moments: Mapping[str, Parts]
    parameters: int
    trained: int
    host: float
    """Bytes in the host's memory for each rank that is offloaded."""
    checkpointing: bool
    """Activations are computed again (gradient checkpointing)."""
    notes: tuple[str, ...] = ()
    """What was taken for granted."""

    @property
    def peak(self) -> Parts:
        """The moment that takes most."""
        return self.moments[self.moment]

    @property
    def total(self) -> float:
        """Bytes of one GPU at that moment."""
        return self.peak.total


def estimate(cfg: TrainConfig, model: Architecture, on: Machine) -> Estimate:
    """Memory of one rank.

    Raises:
        NotSized: stage ppo, whose four models and generation are not known here.
        TargetUnknown: a key names layers that the model has not.
    """
    step, second = _step(cfg, model, on)
    found = {name: replace(parts, weights=parts.weights + second) for name, parts in moments.of(step).items()}
    if on.gpu:
        found = {name: _with_overhead(parts) for name, parts in found.items()}
    return Estimate(
        moment=max(found, key=lambda name: found[name].total),
        moments=found,
        parameters=parameters.total(model),
        trained=step.trained.total,
        host=step.states.host,
        checkpointing=step.checkpointing,
        notes=_notes(cfg, model),
    )


def padded(cfg: TrainConfig) -> bool:
    """Whether a micro batch can hold pads, or packed rows that must not see each other: attention takes a mask."""
    packed = cfg.data.packing if cfg.data.packing is not None else cfg.finetuning.stage == "pt"
    alone = cfg.training.per_device_train_batch_size == 1 and cfg.finetuning.stage not in _PAIRS
    return cfg.model.flash_attn not in ("fa2", "fa3") and (cfg.data.neat_packing or not (packed or alone))


def evaluates(cfg: TrainConfig) -> bool:
    """Whether the run evaluates; its micro batch may be larger than the training's."""
    training = cfg.training
    return training.do_eval or training.eval_on_start or training.eval_strategy != "no"


def liger(cfg: TrainConfig) -> bool:
    """Whether Liger's kernels take the place of norms, MLP and loss."""
    return cfg.model.enable_liger_kernel or cfg.training.use_liger_kernel


def _step(cfg: TrainConfig, model: Architecture, on: Machine) -> tuple[Step, float]:
    """What the moments are made of, and the bytes of a second model that stands still."""
    if cfg.finetuning.stage == "ppo":
        raise NotSized("stage: ppo is not sized: its models and what they generate are not known before")
    lay = layout.of(cfg, width=model.width, ranks=on.ranks)
    learns = trained.of(cfg, model)
    num = numbers.of(cfg, model, lay, adapters=not learns.base, gpu=on.gpu)
    length = cfg.data.cutoff_len
    row = length * (2 if cfg.finetuning.stage in _PAIRS else 1)
    tokens = cfg.training.per_device_train_batch_size * row
    evaluated = cfg.training.per_device_eval_batch_size * row if evaluates(cfg) else 0
    way = Way(
        numbers=num,
        trained=learns,
        length=length,
        masked=padded(cfg),
        eager=model.family.eager or cfg.model.flash_attn == "disabled",
        dropout=bool(cfg.finetuning.lora_dropout) and bool(learns.adapters),
        fused=liger(cfg),
        gpu=on.gpu,
    )
    held = states.of(cfg, model, learns, num, lay)
    spares = _checkpoints(cfg, model, way, held, on)
    step = Step(
        model=model,
        layout=lay,
        numbers=num,
        trained=learns,
        states=held,
        buffers=buffers.of(model, learns, num, lay, checkpointing=spares),
        logits=logits.of(cfg, model, way, tokens=tokens),
        way=way,
        tokens=tokens,
        evaluated=evaluated,
        eval_logits=logits.of(cfg, model, way, tokens=evaluated).inside,
        accumulates=cfg.training.gradient_accumulation_steps > 1,
        checkpointing=spares,
        on_host=cfg.model.use_unsloth_gc,
    )
    second = parameters.total(model) * num.frozen / lay.weights_shared if _keeps_reference(cfg) else 0.0
    return step, second


def _checkpoints(cfg: TrainConfig, model: Architecture, way: Way, held: States, on: Machine) -> bool:
    """As model.activations.spare decides: on, unless it is turned off, or nobody said a word and there is room."""
    if cfg.model.disable_gradient_checkpointing:
        return False
    if not checkpointing.is_open(cfg) or way.eager or on.memory is None:
        return True
    each = moments.whole(model, way) + 4.0 * model.vocabulary
    free = on.memory - held.weights - (machine.CONTEXT if on.gpu else 0)
    return not checkpointing.has_room(cfg, once=held.casts, each=each, trained=way.trained.total, free=free)


def _with_overhead(parts: Parts) -> Parts:
    moving = parts.activations + parts.logits + parts.buffers + parts.gradients
    return replace(parts, overhead=machine.CONTEXT + machine.FRAGMENTS * moving)


def _keeps_reference(cfg: TrainConfig) -> bool:
    """Whether a second copy of the model stands still beside the one that learns; an adapter's base is one already."""
    keys = cfg.finetuning
    if keys.finetuning_type in ("lora", "oft"):
        return False
    compared = keys.stage == "kto" or (keys.stage == "dpo" and keys.pref_loss not in ("orpo", "simpo"))
    return compared or keys.use_asft_loss


def _notes(cfg: TrainConfig, model: Architecture) -> tuple[str, ...]:
    found = []
    if model.assumed:
        found.append(f"a model of type {model.kind} is not known here; it is taken to be built like llama")
    if model.latent is not None:
        found.append("multi-head latent attention: activations are derived, not measured")
    if cfg.finetuning.stage not in ("pt", "sft"):
        found.append(f"stage {cfg.finetuning.stage}: scores and reference are derived, not measured")
    if cfg.finetuning.use_dora or cfg.finetuning.finetuning_type == "oft":
        found.append("DoRA and OFT keep more than LoRA for the backward pass, which is not counted")
    if padded(cfg) and cfg.data.cutoff_len:
        found.append("rows of unequal length are padded, so attention takes a mask; packing: true needs none")
    return tuple(found)
