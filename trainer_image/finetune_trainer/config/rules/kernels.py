"""What the keys about attention, kernels and other means to spare time or memory must not say together."""

from __future__ import annotations

from finetune_trainer.config import zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig


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
    if model.use_unsloth_gc and model.disable_gradient_checkpointing:
        keys = ("use_unsloth_gc", "disable_gradient_checkpointing")
        yield keys, "is a kind of gradient checkpointing; leave disable_gradient_checkpointing out"


def _shifted_attention(cfg: TrainConfig) -> Broken:
    model = cfg.model
    if not model.shift_attn:
        return
    if model.flash_attn not in ("auto", "sdpa"):
        yield ("flash_attn", "shift_attn"), "shift_attn is an attention of its own, made of sdpa; leave flash_attn out"
    if cfg.data.neat_packing:
        yield (
            ("shift_attn", "neat_packing"),
            "groups of tokens would reach over packed rows; write packing: true instead",
        )
    if cfg.finetuning.stage == "ppo":
        yield ("shift_attn", "stage"), "not in stage ppo, which generates with the model that it trains; leave it out"


def _balance(cfg: TrainConfig) -> Broken:
    stage = cfg.finetuning.stage
    if cfg.model.moe_aux_loss_coef and stage not in ("pt", "sft"):
        yield ("moe_aux_loss_coef", "stage"), f"only in stages pt and sft, whose loss the model computes, not {stage}"
    if cfg.model.moe_aux_loss_coef and cfg.model.use_reentrant_gc and "use_reentrant_gc" in cfg.model.model_fields_set:
        keys = ("use_reentrant_gc", "moe_aux_loss_coef")
        yield keys, "re-entrant checkpointing takes the balancing loss's gradient away; write false, or leave it out"


def _liger(cfg: TrainConfig) -> Broken:
    model, training = cfg.model, cfg.training
    if training.liger_kernel_config and not (model.enable_liger_kernel or training.use_liger_kernel):
        yield ("liger_kernel_config", "enable_liger_kernel"), "has no effect without enable_liger_kernel: true"


def _number_types(cfg: TrainConfig) -> Broken:
    model, training = cfg.model, cfg.training
    if model.upcast_layernorm and cfg.finetuning.pure_bf16:
        keys = ("upcast_layernorm", "pure_bf16")
        yield keys, "nothing turns a norm's float32 result back into bfloat16; write bf16: true instead of pure_bf16"
    if model.upcast_layernorm and training.deepspeed and (training.bf16 or training.fp16):
        keys = ("upcast_layernorm", "deepspeed")
        yield keys, "DeepSpeed keeps all weights in one type; leave it out, or deepspeed"
    if training.fp8 and not training.bf16:
        yield ("bf16", "fp8"), "fp8 computes all but products of linear layers in bfloat16; write bf16: true"
    if training.fp8 and _sharded(cfg):
        yield ("fp8", "deepspeed"), "not with ZeRO-3, which splits the layers' weights; write zero2"
    if not training.fp8 and training.fp8_backend != "auto":
        yield ("fp8_backend", "fp8"), "has no effect without fp8: true"


def _compiling(cfg: TrainConfig) -> Broken:
    training = cfg.training
    for name in ("torch_compile_backend", "torch_compile_mode"):
        said_off = "torch_compile" in training.model_fields_set and not training.torch_compile
        if getattr(training, name) and said_off:
            yield (name, "torch_compile"), "turns torch_compile on; leave one of the two out"


def _sharded(cfg: TrainConfig) -> bool:
    try:
        return zero.stage(cfg.training.deepspeed) == 3
    except ValueError:
        return False  # reported by the rule about deepspeed


RULES: tuple[Rule, ...] = (
    _gradient_checkpointing,
    _shifted_attention,
    _balance,
    _liger,
    _number_types,
    _compiling,
)
