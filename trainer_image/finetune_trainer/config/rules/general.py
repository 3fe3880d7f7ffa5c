"""What keys that concern every run must not say together: precision, steps, DeepSpeed, loading."""

from __future__ import annotations

from finetune_trainer.config import zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig


def _something_to_do(cfg: TrainConfig) -> Broken:
    if not cfg.training.do_train:
        yield ("do_train",), "there is nothing to do; write do_train: true"


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


def _deepspeed(cfg: TrainConfig) -> Broken:
    said = cfg.training.deepspeed
    try:
        stage = zero.stage(said)
    except ValueError as error:
        yield ("deepspeed",), str(error)
        return
    if said and isinstance(said, str) and not zero.by_name(said).built:
        yield ("deepspeed",), f"{said} is not supported yet; what works: {', '.join(zero.SHORT)}"
    if stage == 3 and cfg.finetuning.pure_bf16:
        yield ("pure_bf16", "deepspeed"), "not with ZeRO-3; write bf16: true instead, or take zero2"


def _adapter(cfg: TrainConfig) -> Broken:
    kind, adapters = cfg.finetuning.finetuning_type, cfg.model.adapter_name_or_path
    if adapters and kind != "lora":
        yield ("adapter_name_or_path", "finetuning_type"), f"only with finetuning_type: lora, not {kind}"
    if len(adapters) > 1:
        yield ("adapter_name_or_path",), "more than one adapter is not supported yet; merge all but the last before"
    for name in ("use_rslora", "use_dora"):
        if getattr(cfg.finetuning, name) and kind != "lora":
            yield (name, "finetuning_type"), f"only with finetuning_type: lora, not {kind}"


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


def _schedule(cfg: TrainConfig) -> Broken:
    kind = cfg.training.lr_scheduler_type
    if kind in ("reduce_lr_on_plateau", "greedy") and cfg.training.eval_strategy == "no":
        yield ("lr_scheduler_type", "eval_strategy"), f"{kind} goes by evaluations; set eval_strategy"


def _order_of_rows(cfg: TrainConfig) -> Broken:
    strategy = cfg.training.train_sampling_strategy
    if cfg.training.group_by_length and strategy not in ("random", "group_by_length"):
        yield ("group_by_length", "train_sampling_strategy"), f"contradicts train_sampling_strategy: {strategy}"
    if cfg.finetuning.disable_shuffling and (cfg.training.group_by_length or strategy == "group_by_length"):
        keys = ("disable_shuffling", "group_by_length", "train_sampling_strategy")
        yield keys, "contradicts grouping rows by length; keep one of them"


def _optimiser(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if training.adafactor and "optim" in training.model_fields_set and training.optim != "adafactor":
        yield ("adafactor", "optim"), f"contradicts optim: {training.optim}; keep one of them"


def _gradient_checkpointing(cfg: TrainConfig) -> Broken:
    model, training = cfg.model, cfg.training
    if (
        training.gradient_checkpointing is not None
        and training.gradient_checkpointing is model.disable_gradient_checkpointing
    ):
        off = str(not training.gradient_checkpointing).lower()
        keys = ("gradient_checkpointing", "disable_gradient_checkpointing")
        yield keys, f"write disable_gradient_checkpointing: {off}, which decides it (and is false unless said)"
    kwargs = training.gradient_checkpointing_kwargs
    if kwargs is not None and kwargs != {"use_reentrant": model.use_reentrant_gc}:
        keys = ("gradient_checkpointing_kwargs", "use_reentrant_gc")
        yield keys, "may hold use_reentrant alone, and must say what use_reentrant_gc says (true unless said)"


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
    _something_to_do,
    _precision,
    _deepspeed,
    _adapter,
    _warmup,
    _steps,
    _schedule,
    _order_of_rows,
    _optimiser,
    _gradient_checkpointing,
    _loading,
)
