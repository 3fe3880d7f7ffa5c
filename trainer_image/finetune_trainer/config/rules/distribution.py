"""What the keys about ranks must not say together: DeepSpeed's configuration and the YAML, FSDP, DDP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_trainer.config import fsdp, zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig


def _deepspeed(cfg: TrainConfig) -> Broken:
    said = cfg.training.deepspeed
    try:
        stage = zero.stage(said)
    except ValueError as error:
        yield ("deepspeed",), str(error)
        return
    if said and isinstance(said, str) and zero.by_name(said).refused:
        yield ("deepspeed",), zero.by_name(said).refused
    if stage == 3 and cfg.finetuning.pure_bf16:
        yield ("pure_bf16", "deepspeed"), "not with ZeRO-3; write bf16: true instead, or take zero2"


def _same_in_both(cfg: TrainConfig) -> Broken:
    """What DeepSpeed's configuration says and the YAML too must be the same: DeepSpeed would go by its own."""
    said, training = cfg.training.deepspeed, cfg.training
    if not isinstance(said, Mapping):
        return
    half = {"bf16": training.bf16 or cfg.finetuning.pure_bf16, "fp16": training.fp16}
    pairs = (
        ("train_micro_batch_size_per_gpu", "per_device_train_batch_size", training.per_device_train_batch_size),
        ("gradient_accumulation_steps", "gradient_accumulation_steps", training.gradient_accumulation_steps),
        ("gradient_clipping", "max_grad_norm", training.max_grad_norm),
        ("bf16.enabled", "bf16", half["bf16"]),
        ("fp16.enabled", "fp16", half["fp16"]),
        ("optimizer.params.lr", "learning_rate", training.learning_rate),
        ("optimizer.params.betas", "adam_beta1", [training.adam_beta1, training.adam_beta2]),
        ("optimizer.params.eps", "adam_epsilon", training.adam_epsilon),
        ("optimizer.params.weight_decay", "weight_decay", training.weight_decay),
    )
    for path, key, value in pairs:
        there = _at(said, path)
        if there not in (None, "auto", value):
            yield ("deepspeed", key), f'{path}: {there} contradicts {key}: {value}; write "auto" there'


def _decided_by_deepspeed(cfg: TrainConfig) -> Broken:
    said, training = cfg.training.deepspeed, cfg.training
    if not isinstance(said, Mapping):
        return
    for section, key in (("optimizer", "optim"), ("scheduler", "lr_scheduler_type")):
        if said.get(section) and key in training.model_fields_set:
            yield ("deepspeed", key), f"its section {section} would take the place of {key}; keep one of them"
    batch = _at(said, "train_batch_size")
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
    if isinstance(batch, int) and batch % rows:
        keys = ("deepspeed", "per_device_train_batch_size", "gradient_accumulation_steps")
        yield keys, f'train_batch_size: {batch} is no multiple of the {rows} rows of a rank; write "auto" there'
    if said.get("tensor_parallel"):
        yield ("deepspeed",), f"tensor_parallel: {zero.FILES['ds_z2_autotp_config.json'].refused}"
    gathers = _at(said, "zero_optimization.stage3_gather_16bit_weights_on_model_save")
    if _at(said, "zero_optimization.stage") == 3 and gathers is not True:
        key = "zero_optimization.stage3_gather_16bit_weights_on_model_save"
        yield ("deepspeed",), f"{key} must be true, or there are no whole weights to save"


def _fsdp(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if not training.fsdp:
        for key in ("fsdp_config", "fsdp_min_num_params", "fsdp_transformer_layer_cls_to_wrap"):
            if getattr(training, key):
                yield (key, "fsdp"), "has no effect without fsdp; write fsdp: full_shard"
        return
    for key, wanted in (("deepspeed", training.deepspeed), ("save_only_model", training.save_only_model)):
        if wanted:
            yield ("fsdp", key), f"not together with {key}; keep one of them"
    if cfg.model.quantization_bit is not None:
        yield ("fsdp", "quantization_bit"), "packed weights can't be cut into pieces here; take DDP, or leave it out"
    yield from _fsdp_words(cfg)


def _fsdp_words(cfg: TrainConfig) -> Broken:
    for word in fsdp.words(cfg):
        if word not in fsdp.WORDS:
            yield ("fsdp",), f"{word} is not of FSDP2, which takes {', '.join(fsdp.WORDS)}"
    if not {"full_shard", "shard_grad_op"} & set(fsdp.words(cfg)):
        yield ("fsdp",), "says nothing of what is shared; write full_shard, or shard_grad_op"
    for name, value in fsdp.settings(cfg).items():
        if name not in fsdp.CONFIG:
            yield ("fsdp_config",), f"{name} has no effect on FSDP2, which takes {', '.join(fsdp.CONFIG)}"
        elif name == "version" and str(value) != "2":
            yield ("fsdp_config",), "FSDP1 is gone; leave version out, or write 2"
        elif name == "activation_checkpointing" and value and not cfg.model.disable_gradient_checkpointing:
            keys = ("fsdp_config", "disable_gradient_checkpointing")
            yield keys, "activation_checkpointing is on already; leave it out, or set disable_gradient_checkpointing"


def _ddp(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if training.ddp_backend == "gloo" and not training.use_cpu:
        yield ("ddp_backend", "use_cpu"), "gloo is taken on CPUs, nccl on GPUs; leave it out, or write use_cpu: true"
    if training.ddp_backend == "nccl" and training.use_cpu:
        yield ("ddp_backend", "use_cpu"), "nccl needs GPUs; leave it out, or use_cpu"
    again = cfg.model.use_reentrant_gc and not (cfg.model.disable_gradient_checkpointing or training.ddp_static_graph)
    if training.ddp_find_unused_parameters and again:
        keys = ("ddp_find_unused_parameters", "use_reentrant_gc", "disable_gradient_checkpointing")
        yield keys, "DDP can't look where activations are computed again re-entrantly; write use_reentrant_gc: false"
    other = next((key for key in ("deepspeed", "fsdp") if getattr(training, key)), None)
    for name in _of_ddp(training) if other else ():
        yield (name, str(other)), f"is of DDP and has no effect with {other}; leave it out"


def _of_ddp(training: Any) -> Iterator[str]:  # noqa: ANN401 - the group's class is put together elsewhere
    names = ("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph")
    return (name for name in names if getattr(training, name))


def _at(said: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - JSON
    value: Any = said
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


RULES: tuple[Rule, ...] = (_deepspeed, _same_in_both, _decided_by_deepspeed, _fsdp, _ddp)
