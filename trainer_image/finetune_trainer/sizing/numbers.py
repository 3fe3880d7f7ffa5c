"""Pure: TrainConfig -> the bytes of a weight, a result and the residual stream, as model.precision decides."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.layout import Layout

FULL, HALF = 4.0, 2.0
BNB_FOUR, BNB_FOUR_DOUBLE, BNB_EIGHT = 0.5 + 4 / 64, 0.5 + 1 / 64 + 4 / (64 * 256), 1.0
"""Bytes of a weight in bitsandbytes: blocks of 64 with a float32 constant, or constants of eight bits in blocks of 256
(QLoRA, https://arxiv.org/abs/2305.14314, 3); eight bits with a constant a row.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """Bytes of one number, by its use."""

    frozen: float
    """A weight that stands still."""
    packed: float
    """A frozen weight of a linear layer, quantised or not."""
    trained: float
    """A weight that learns, an adapter's too; its gradient has the same."""
    compute: float
    """Results of products, and what goes into them."""
    residual: float
    """The hidden state between layers."""
    autocast: bool
    """Full precision weights and inputs are cast for each product; the casts are kept."""


def of(cfg: TrainConfig, model: Architecture, layout: Layout, *, adapters: bool, gpu: bool) -> Numbers:
    """By the keys, the stored type and the device.

    Args:
        cfg: bf16, fp16, pure_bf16, BAdam, quantisation.
        model: the stored type, which a GPU computes in where no key says another.
        layout: DeepSpeed computes in one type, without autocast.
        adapters: whether what learns is an adapter (LoRA, OFT).
        gpu: whether it runs on one.
    """
    mixed = cfg.training.bf16 or cfg.training.fp16
    pure = cfg.finetuning.pure_bf16
    loaded = HALF if mixed or pure or (gpu and model.stored in ("bfloat16", "float16")) else FULL
    if layout.kind == "zero":
        engine = HALF if mixed or pure else loaded if adapters else FULL
        packed = _packed(cfg, model, engine)
        learns = FULL if adapters and _stays_full(cfg, layout) else engine
        return Numbers(frozen=engine, packed=packed, trained=learns, compute=engine, residual=engine, autocast=False)
    trained = loaded if (pure and not adapters) or cfg.finetuning.use_badam else FULL
    autocast = mixed and not pure
    stream = loaded if adapters or cfg.finetuning.finetuning_type == "freeze" else trained
    return Numbers(
        frozen=loaded,
        packed=_packed(cfg, model, loaded),
        trained=trained,
        compute=HALF if autocast else stream,
        residual=stream,
        autocast=autocast,
    )


def _stays_full(cfg: TrainConfig, layout: Layout) -> bool:
    """Whether an adapter is float32, as peft makes it.

    DeepSpeed casts it where bf16 or fp16 is said, but not under ZeRO-3: there model.precision does, LoRA over plain
    weights.
    """
    if not (cfg.training.bf16 or cfg.training.fp16):
        return True
    plain = cfg.finetuning.finetuning_type == "lora" and cfg.model.quantization_bit is None
    return layout.stage == 3 and not plain


def _packed(cfg: TrainConfig, model: Architecture, loaded: float) -> float:
    if model.quantised is not None:
        return model.quantised_bits / 8 + 4 / 128  # GPTQ and AWQ: a scale and a zero for each group of 128
    bits = cfg.model.quantization_bit
    if bits is None:
        return loaded
    if bits == 8:
        return BNB_EIGHT
    if cfg.model.quantization_method == "bnb" and bits == 4:
        return BNB_FOUR_DOUBLE if cfg.model.double_quantization else BNB_FOUR
    return bits / 8 + 4 / 64  # HQQ: a scale and a zero of two bytes for each group of 64
