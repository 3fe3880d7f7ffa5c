"""Pure: how much of what the GPUs could do goes into the model (MFU, PaLM, https://arxiv.org/abs/2204.02311, B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_trainer.config import TrainConfig
from finetune_trainer.progress.speed import Speed
from finetune_trainer.sizing import (
    Architecture,
    ArchitectureUnknown,
    TargetUnknown,
    config_json,
    flops,
    layout,
    peak_flops,
    trained,
)
from finetune_trainer.sizing import numbers as sized_numbers
from finetune_trainer.sizing.flops import Work
from finetune_trainer.sizing.peak_flops import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Utilisation:
    """What a run's speed is measured by."""

    work: Work
    peak: float
    """FLOP/s of all ranks' GPUs together."""
    rows: int
    """Sequences in a step of all ranks; a pair is two."""

    def at(self, speed: Speed) -> float | None:
        """0 to 1; None before the first step."""
        length = speed.tokens_per_step
        rate = speed.tokens_per_second
        if rate is None or length is None:
            return None
        return rate * self.work.of_token(length / self.rows) / self.peak


def of(cfg: TrainConfig, description: Mapping[str, Any], gpus: Sequence[str | None]) -> Utilisation | None:
    """None where anything is not known: a GPU, the precision's rate, the model, the method.

    Args:
        cfg: what is trained, and in which numbers.
        description: the model's config.json.
        gpus: the name of each rank's GPU; None: it has none. Ranks may have different ones: their rates add up.
    """
    try:
        model = config_json.read(description)
        work = flops.of(cfg, model)
        kind = _kind(cfg, model, ranks=len(gpus))
    except (ArchitectureUnknown, TargetUnknown, KeyError, TypeError, ValueError):
        return None
    rates = [None if name is None else peak_flops.peak(name, kind) for name in gpus]
    known = [rate for rate in rates if rate is not None]
    if work is None or len(known) < len(gpus):
        return None
    training = cfg.training
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps * len(gpus)
    return Utilisation(work=work, peak=sum(known), rows=rows * (2 if cfg.finetuning.stage in ("dpo", "rm") else 1))


def _kind(cfg: TrainConfig, model: Architecture, *, ranks: int) -> Kind:
    """The numbers of products."""
    lay = layout.of(cfg, width=model.width, ranks=ranks)
    found = sized_numbers.of(cfg, model, lay, adapters=not trained.of(cfg, model).base, gpu=True)
    if found.compute == sized_numbers.HALF:
        return "fp16" if cfg.training.fp16 or (model.stored == "float16" and not cfg.training.bf16) else "bf16"
    return "tf32" if cfg.training.tf32 else "fp32"
