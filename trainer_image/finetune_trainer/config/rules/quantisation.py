"""What the keys about quantised base models must not say together."""

from __future__ import annotations

from finetune_trainer.config import zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig

BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,)}
"""Ways that quantise while the model loads."""
STORED = ("gptq", "awq", "aqlm", "mxfp4", "fp8")
"""Ways in which checkpoints are stored."""


def _method(cfg: TrainConfig) -> Broken:
    method, said = cfg.model.quantization_method, cfg.finetuning
    bits = {
        "quantization_bit": cfg.model.quantization_bit,
        "ref_model_quantization_bit": said.ref_model_quantization_bit,
        "reward_model_quantization_bit": said.reward_model_quantization_bit,
    }
    asked = {key: number for key, number in bits.items() if number is not None}
    if method in STORED:
        message = (
            f"{method} is a way in which checkpoints are stored, and is seen from the checkpoint; leave it out and "
            "give such a checkpoint as model_name_or_path, or write bnb, hqq or eetq"
        )
        yield ("quantization_method",), message
    elif not asked and method not in ("bnb", "quanto"):
        yield ("quantization_bit", "quantization_method"), f"{method} quantises only where it says to how many bits"
    for key, number in asked.items():
        if method in BITS and number not in BITS[method]:
            expected = ", ".join(map(str, BITS[method]))
            yield (key, "quantization_method"), f"expected {expected} with {method}, got {number}"


def _four_bits_of_bitsandbytes(cfg: TrainConfig) -> Broken:
    model = cfg.model
    if model.quantization_bit == 4 and model.quantization_method == "bnb":
        return
    for name, changed in (
        ("quantization_type", model.quantization_type != "nf4"),
        ("double_quantization", not model.double_quantization),
    ):
        if changed:
            keys = (name, "quantization_bit", "quantization_method")
            yield keys, "only with quantization_bit: 4 and quantization_method: bnb; leave it out"


def _weights_stand_still(cfg: TrainConfig) -> Broken:
    """LLaMA-Factory's hparams/parser.py; new tokens are added to its list, since they resize the vocabulary."""
    model, finetuning = cfg.model, cfg.finetuning
    if model.quantization_bit is None:
        return
    kind = finetuning.finetuning_type
    if kind not in ("lora", "oft"):
        keys = ("quantization_bit", "finetuning_type")
        yield keys, f"quantised weights cannot be trained; write finetuning_type: lora, not {kind}, or leave it out"
    if finetuning.pissa_init:
        keys = ("pissa_init", "quantization_bit")
        yield keys, "needs the unquantised weights; make the PiSSA model first, or leave quantization_bit out"
    for name in ("resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config"):
        if getattr(model, name):
            yield (name, "quantization_bit"), "quantised embeddings cannot grow; leave one of the two out"
    if model.train_from_scratch:
        yield (
            ("train_from_scratch", "quantization_bit"),
            "there is nothing to quantise in a model that begins at random",
        )
    if finetuning.use_dora and model.quantization_method == "eetq":
        yield ("use_dora", "quantization_method"), "peft has no DoRA for eetq; write quantization_method: bnb"


def _adapters(cfg: TrainConfig) -> Broken:
    model = cfg.model
    if model.quantization_bit is None or not model.adapter_name_or_path:
        return
    if cfg.finetuning.create_new_adapter:
        keys = ("create_new_adapter", "quantization_bit")
        yield keys, "an adapter cannot be merged into quantised weights; merge it into the model before"
    elif len(model.adapter_name_or_path) > 1:
        keys = ("adapter_name_or_path", "quantization_bit")
        yield keys, "a quantised model takes one adapter; merge the others into the model before"


def _ranks(cfg: TrainConfig) -> Broken:
    """Only four bits of bitsandbytes can be split over ranks: they are stored in the type that is computed in."""
    model, training = cfg.model, cfg.training
    if model.quantization_bit is None:
        return
    split = _zero(cfg) == 3 or bool(training.fsdp)
    if split and (model.quantization_method != "bnb" or model.quantization_bit != 4):
        key = "deepspeed" if _zero(cfg) == 3 else "fsdp"
        yield ("quantization_bit", "quantization_method", key), "weights that are split over ranks need bnb and 4 bits"
    if training.fp8:
        yield ("fp8", "quantization_bit"), "not together with quantization_bit; keep one of them"


def _zero(cfg: TrainConfig) -> int:
    try:
        return zero.stage(cfg.training.deepspeed)
    except ValueError:
        return 0  # reported by the rule about deepspeed


RULES: tuple[Rule, ...] = (_method, _four_bits_of_bitsandbytes, _weights_stand_still, _adapters, _ranks)
