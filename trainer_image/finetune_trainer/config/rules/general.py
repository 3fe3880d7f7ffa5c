"""What keys that concern every run must not say together: precision, steps, loading."""

from __future__ import annotations

from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig


def _precision(cfg: TrainConfig) -> Broken:
    training, pure = cfg.training, cfg.finetuning.pure_bf16
    if training.bf16 and training.fp16:
        yield ("fp16", "bf16"), "not together with bf16; keep one of them"
    if pure and training.fp16:
        yield ("fp16", "pure_bf16"), "not together with pure_bf16; keep one of them"
    if training.bf16_full_eval and training.fp16_full_eval:
        yield ("fp16_full_eval", "bf16_full_eval"), "not together with bf16_full_eval; keep one of them"
    if training.tf32 and training.use_cpu:
        yield ("tf32", "use_cpu"), "CPUs have no TF32; leave it out, or use_cpu"
    if training.fp16 and training.use_cpu:
        yield ("fp16", "use_cpu"), "nothing computes in float16 on CPUs; write bf16: true, or leave it out"
    if training.torch_empty_cache_steps and training.use_cpu:
        yield ("torch_empty_cache_steps", "use_cpu"), "empties a GPU's cache, CPUs have none; leave it out, or use_cpu"


def _warmup(cfg: TrainConfig) -> Broken:
    if cfg.training.warmup_steps > 0 and cfg.training.warmup_ratio > 0:
        yield ("warmup_ratio", "warmup_steps"), "has no effect beside warmup_steps; keep one of them"


def _steps(cfg: TrainConfig) -> Broken:
    for name in ("warmup_steps", "logging_steps", "eval_steps", "save_steps"):
        value = getattr(cfg.training, name)
        if value is not None and value > 1 and value != int(value):
            yield (name,), f"expected a whole number of steps, or a share of all steps below 1, got {value:g}"
    if cfg.training.max_steps == 0:
        yield ("max_steps",), "expected at least 1 step, or -1 to go by num_train_epochs"


def _order_of_rows(cfg: TrainConfig) -> Broken:
    strategy = cfg.training.train_sampling_strategy
    if cfg.training.group_by_length and strategy not in ("random", "group_by_length"):
        yield ("group_by_length", "train_sampling_strategy"), f"contradicts train_sampling_strategy: {strategy}"
    if cfg.finetuning.disable_shuffling and (cfg.training.group_by_length or strategy == "group_by_length"):
        keys = ("disable_shuffling", "group_by_length", "train_sampling_strategy")
        yield keys, "contradicts grouping rows by length; keep one of them"


def _loading(cfg: TrainConfig) -> Broken:
    if cfg.training.dataloader_num_workers == 0:
        for name in (
            "dataloader_prefetch_factor",
            "dataloader_persistent_workers",
            "dataloader_multiprocessing_context",
        ):
            if getattr(cfg.training, name):
                yield (name, "dataloader_num_workers"), "needs dataloader_num_workers above 0"


RULES: tuple[Rule, ...] = (
    _precision,
    _warmup,
    _steps,
    _order_of_rows,
    _loading,
)
