"""Pure: what of the training each rank holds, and the sizes of the buffers between ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from finetune_trainer import deepspeed
from finetune_trainer.config import TrainConfig, fsdp

Kind = Literal["alone", "ddp", "zero", "fsdp"]
_BUCKET = 500_000_000
"""DeepSpeed's own default for reduce_bucket_size and stage3_prefetch_bucket_size's order, in numbers."""
_LIVE = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How weights, gradients and optimiser are shared between ranks. Sizes of buffers are in numbers, not bytes."""

    kind: Kind
    ranks: int
    stage: int = 0
    """ZeRO's: 1 shares the optimiser, 2 gradients too, 3 weights too."""
    offload_optimiser: bool = False
    """Optimiser and gradients lie in the host's memory."""
    offload_weights: bool = False
    bucket: int = 0
    """Gradients that are reduced together (ZeRO)."""
    buckets: int = 1
    """Two where communication overlaps with computing."""
    live: int = 0
    """Gathered weights that may stay at once (ZeRO-3)."""
    subgroup: int = _LIVE
    """Weights that ZeRO-3's optimiser takes at once, over all ranks."""

    @property
    def weights_shared(self) -> int:
        """Among how many ranks."""
        return self.ranks if self.stage == 3 or self.kind == "fsdp" else 1

    @property
    def gradients_shared(self) -> int:
        """Among how many ranks."""
        return self.ranks if self.stage >= 2 or self.kind == "fsdp" else 1

    @property
    def optimiser_shared(self) -> int:
        """Among how many ranks."""
        return self.ranks if self.stage >= 1 or self.kind == "fsdp" else 1


def of(cfg: TrainConfig, *, width: int, ranks: int) -> Layout:
    """By `deepspeed` and `fsdp`; DeepSpeed's "auto" as transformers fills it, from the model's width."""
    config = deepspeed.resolve(cfg, world_size=ranks)
    if config is not None:
        return _zero(config.get("zero_optimization") or {}, width=width, ranks=ranks)
    if cfg.training.fsdp:
        offload = "offload" in fsdp.words(cfg) or bool(fsdp.settings(cfg).get("cpu_offload"))
        return Layout(kind="fsdp", ranks=ranks, offload_optimiser=offload, offload_weights=offload)
    return Layout(kind="ddp" if ranks > 1 else "alone", ranks=ranks)


def _zero(section: Mapping[str, Any], *, width: int, ranks: int) -> Layout:
    stage = int(section.get("stage", 0))
    bucket = section.get("reduce_bucket_size", _BUCKET)
    return Layout(
        kind="zero",
        ranks=ranks,
        stage=stage,
        offload_optimiser=_to_host(section, "offload_optimizer"),
        offload_weights=_to_host(section, "offload_param"),
        bucket=width * width if bucket == "auto" else int(bucket),
        buckets=2 if section.get("overlap_comm", stage == 3) else 1,
        live=int(section.get("stage3_max_live_parameters", _LIVE)),
        subgroup=int(section.get("sub_group_size", _LIVE)),
    )


def _to_host(section: Mapping[str, Any], name: str) -> bool:
    said = section.get(name)
    return isinstance(said, Mapping) and said.get("device", "none") != "none"
