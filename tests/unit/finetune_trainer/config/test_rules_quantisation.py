"""What may not be said together with a quantised base model, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.rules import RULES, quantisation
from finetune_trainer.config.rules.quantisation import BITS

PLAIN = {
    "stage": "sft", "do_train": True, "model_name_or_path": "m", "dataset": "d", "template": "llama3",
    "output_dir": "o", "finetuning_type": "lora",
}  # fmt: skip
FOUR = {"quantization_bit": 4}
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"quantization_method": "gptq"}, "quantization_method", "seen from the checkpoint"),
    ({"quantization_method": "awq", **FOUR}, "quantization_method", "seen from the checkpoint"),
    ({"quantization_method": "aqlm"}, "quantization_method", "seen from the checkpoint"),
    ({"quantization_method": "mxfp4"}, "quantization_method", "seen from the checkpoint"),
    ({"quantization_method": "fp8"}, "quantization_method", "seen from the checkpoint"),
    ({"quantization_method": "quanto", **FOUR}, "quantization_method", "does nothing with it; write bnb"),
    ({"quantization_method": "hqq"}, "quantization_bit", "only where it says to how many bits"),
    ({"quantization_bit": 3}, "quantization_bit", "expected 4, 8 with bnb, got 3"),
    (
        {"quantization_bit": 7, "quantization_method": "hqq"},
        "quantization_bit",
        "expected 1, 2, 3, 4, 5, 6, 8 with hqq",
    ),
    ({"quantization_bit": 4, "quantization_method": "eetq"}, "quantization_bit", "expected 8 with eetq"),
    ({"quantization_type": "fp4"}, "quantization_type", "only with quantization_bit: 4"),
    ({"quantization_type": "fp4", "quantization_bit": 8}, "quantization_type", "only with quantization_bit: 4"),
    ({"double_quantization": False, "quantization_bit": 8}, "double_quantization", "only with quantization_bit: 4"),
    ({"finetuning_type": "full", **FOUR}, "quantization_bit", "write finetuning_type: lora, not full"),
    ({"finetuning_type": "freeze", **FOUR}, "quantization_bit", "write finetuning_type: lora, not freeze"),
    ({"resize_vocab": True, **FOUR}, "resize_vocab", "cannot grow"),
    ({"add_tokens": "<a>", "resize_vocab": True, **FOUR}, "add_tokens", "cannot grow"),
    ({"pissa_init": True, **FOUR}, "pissa_init", "make the PiSSA model first"),
    ({"adapter_name_or_path": "a", "create_new_adapter": True, **FOUR}, "create_new_adapter", "cannot be merged"),
    ({"adapter_name_or_path": "a,b", **FOUR}, "adapter_name_or_path", "takes one adapter"),
    ({"use_dora": True, "quantization_bit": 8, "quantization_method": "eetq"}, "use_dora", "no DoRA for eetq"),
    ({"deepspeed": "zero3", "quantization_bit": 8}, "quantization_bit", "need bnb and 4 bits"),
    ({"deepspeed": "zero3", "quantization_method": "hqq", **FOUR}, "quantization_bit", "need bnb and 4 bits"),
    ({"fp8": True, "bf16": True, **FOUR}, "fp8", "not together with quantization_bit"),
    ({"train_from_scratch": True, **FOUR}, "train_from_scratch", "begins at random"),
    ({"quantization_device_map": "auto", **FOUR}, "quantization_device_map", "a copy on each rank"),
]


@pytest.mark.shows("quantization_method", "quantization_bit", "quantization_device_map")
@pytest.mark.parametrize(("changes", "key", "message"), BROKEN, ids=lambda value: str(value)[:40])
def test_refuses(changes: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse({**PLAIN, **changes})
    assert [
        (found.path.rpartition(".")[2], message in found.message)
        for found in caught.value.violations
        if found.path.endswith(key)
    ] == [(key, True)]


@pytest.mark.parametrize(
    ("method", "bits"), [(method, bits) for method, all_bits in BITS.items() for bits in all_bits]
)
def test_allows(method: str, bits: int) -> None:
    assert parse({**PLAIN, "quantization_method": method, "quantization_bit": bits}).model.quantization_bit == bits


def test_the_default_method_may_be_said_without_bits() -> None:
    assert parse({**PLAIN, "quantization_method": "bnb"}).model.quantization_bit is None


def test_every_rule_counts() -> None:
    assert set(quantisation.RULES) <= set(RULES)
