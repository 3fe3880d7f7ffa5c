"""Pure: what fits on the given GPUs: a table, the nearest plan that does, the length at which the verdict turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_trainer.config import ConfigInvalid, TrainConfig, dump, parse
from finetune_trainer.config.zero import stage
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.estimate import Estimate, estimate, evaluates, liger
from finetune_trainer.sizing.machine import Machine

WAYS: Mapping[str, str | None] = {
    "no ZeRO": None,
    "zero2": "zero2",
    "zero3": "zero3",
    "zero3_offload": "zero3_offload",
}
"""What the table's columns are called -> `deepspeed`."""
_LENGTHS = range(64, (1 << 20) + 1, 64)
_LARGEST = 16
_LIGER = frozenset({"llama", "mistral", "mixtral", "qwen2", "gemma", "gemma2", "phi3"})
"""Families that every liger-kernel since 0.4 has kernels for (its transformers/monkey_patch.py)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One way to train."""

    micro_batch: int
    way: str
    total: float
    """Bytes of one GPU."""
    fits: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A configuration that fits."""

    changes: Mapping[str, Any]
    """Keys of train.yaml to write, in addition to or in place of what is there."""
    estimate: Estimate


def fits(found: Estimate, on: Machine) -> bool:
    """Whether it takes no more than a GPU has."""
    return on.memory is not None and found.total <= on.memory


def table(cfg: TrainConfig, model: Architecture, on: Machine) -> tuple[Cell, ...]:
    """Micro batches beside ways to share, everything else as it is; line by line."""
    ways = WAYS if on.ranks > 1 else {name: WAYS[name] for name in ("no ZeRO", "zero3_offload")}
    asked = cfg.training.per_device_train_batch_size
    batches = sorted({asked, *(1 << power for power in range(_LARGEST.bit_length()))})
    cells = (_cell(cfg, model, on, (micro, way)) for micro in batches for way in ways)
    return tuple(cell for cell in cells if cell is not None)


def turning_length(cfg: TrainConfig, model: Architecture, on: Machine) -> int | None:
    """The longest cutoff_len, in steps of 64, that fits; 0: none does; None: even a million tokens do."""
    lengths = _LENGTHS
    low, high = 0, len(lengths)
    while low < high:
        middle = (low + high) // 2
        new = changed(cfg, {"cutoff_len": lengths[middle]})
        good = new is not None and fits(estimate(new, model, on), on)
        low, high = (middle + 1, high) if good else (low, middle)
    if low == len(lengths):
        return None
    return lengths[low - 1] if low else 0


def nearest(cfg: TrainConfig, model: Architecture, on: Machine) -> Plan | None:
    """The first plan that fits; None: none does.

    The global batch stays. First come gradient checkpointing and smaller micro batches, and Liger's kernels; then the
    same with ZeRO-2, ZeRO-3 and offloading; and only after all of them an adapter, and a quantised base.
    """
    return next((plan for plan in plans(cfg, model, on) if fits(plan.estimate, on)), None)


def leanest(cfg: TrainConfig, model: Architecture, on: Machine) -> Plan:
    """Of the same plans the one that takes least, for when none fits."""
    return min(plans(cfg, model, on), key=lambda plan: plan.estimate.total)


def plans(cfg: TrainConfig, model: Architecture, on: Machine) -> Iterator[Plan]:
    """Every plan that the rules let by, from the nearest to the last resort."""
    for changes in _candidates(cfg, model, on):
        new = changed(cfg, changes)
        if new is not None:
            yield Plan(changes=changes, estimate=estimate(new, model, on))


def changed(cfg: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig | None:
    """The configuration with other values of some keys; None: its rules refuse them."""
    said = {key: value for key, value in {**dump(cfg), **changes}.items() if value is not None}
    try:
        return parse(said)
    except ConfigInvalid:
        return None


def _cell(cfg: TrainConfig, model: Architecture, on: Machine, at: tuple[int, str]) -> Cell | None:
    micro, way = at
    new = changed(
        cfg, {"per_device_train_batch_size": micro, "deepspeed": WAYS[way], **_without(cfg, "fsdp", "fsdp_config")}
    )
    if new is None:
        return None
    found = estimate(new, model, on)
    return Cell(micro_batch=micro, way=way, total=found.total, fits=fits(found, on))


def _candidates(cfg: TrainConfig, model: Architecture, on: Machine) -> Iterator[dict[str, Any]]:
    spared = {} if estimate(cfg, model, on).checkpointing else {"disable_gradient_checkpointing": False}
    for adapter in _adapters(cfg):
        for sharing in _sharings(cfg, on):
            for kernels in _kernels(cfg, model, on):
                for batch in _batches(cfg):
                    yield {**spared, **sharing, **kernels, **batch, **adapter}


def _kernels(cfg: TrainConfig, model: Architecture, on: Machine) -> Iterator[dict[str, Any]]:
    """Liger's make no scores of the whole vocabulary, which most of the memory of short models goes to."""
    yield {}
    if on.gpu and not liger(cfg) and model.kind in _LIGER and cfg.finetuning.stage in ("pt", "sft"):
        yield {"enable_liger_kernel": True}


def _adapters(cfg: TrainConfig) -> Iterator[dict[str, Any]]:
    """All weights if that was asked for, then LoRA, then LoRA over four bits."""
    lora = {"finetuning_type": "lora", **_without(cfg, "pure_bf16")}
    yield {}
    if cfg.finetuning.finetuning_type in ("full", "freeze"):
        yield {**lora}
    if cfg.finetuning.finetuning_type != "oft" and cfg.model.quantization_bit is None:
        yield {**lora, "quantization_bit": 4}


def _sharings(cfg: TrainConfig, on: Machine) -> Iterator[dict[str, Any]]:
    """As it is, then ever more shared, then in the host's memory."""
    yield {}
    now = stage(cfg.training.deepspeed)
    for name, wanted in (("zero2", 2), ("zero3", 3)):
        if on.ranks > 1 and now < wanted:
            yield {"deepspeed": name, **_without(cfg, "fsdp", "fsdp_config")}
    yield {"deepspeed": "zero3_offload", **_without(cfg, "fsdp", "fsdp_config")}


def _without(cfg: TrainConfig, *keys: str) -> dict[str, None]:
    """Those of the keys that are said, to be left out."""
    said = dump(cfg)
    return {key: None for key in keys if key in said}


def _batches(cfg: TrainConfig) -> Iterator[dict[str, Any]]:
    """Micro batches that divide the asked one, from large to small, with as much more accumulation.

    An evaluation's is not larger than they are; its figures do not depend on it.
    """
    asked, accumulated = cfg.training.per_device_train_batch_size, cfg.training.gradient_accumulation_steps
    yield {}
    for micro in range(asked, 0, -1):
        smaller = evaluates(cfg) and cfg.training.per_device_eval_batch_size > micro
        evaluated = {"per_device_eval_batch_size": micro} if smaller else {}
        if micro == asked:
            if evaluated:
                yield evaluated
        elif asked % micro == 0:
            more = {"per_device_train_batch_size": micro, "gradient_accumulation_steps": accumulated * asked // micro}
            yield {**more, **evaluated}
