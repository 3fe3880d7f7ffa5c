"""`finetune init-adapter`: an adapter whose first weights come from the base's, and the base that goes with it.

For quantised training: the written base is loaded with quantization_bit and the adapter named beside it. Sources:
LLaMA-Factory scripts/pissa_init.py and scripts/loftq_init.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from finetune_trainer.export import files, loftq
from finetune_trainer.failures import RunError
from finetune_trainer.model import generation
from finetune_trainer.model.precision import DTYPE_ARGUMENT
from finetune_trainer.model.sources import named
from finetune_trainer.model.tuning import targets


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstAdapter:
    """How the adapter begins."""

    kind: Literal["pissa", "loftq"]
    rank: int = 16
    alpha: int | None = None
    """None: twice the rank."""
    target: tuple[str, ...] = ("all",)
    iterations: int | None = None
    """None: 16 of PiSSA's fast decomposition (-1 is the exact one), 4 of LoftQ."""
    bits: int = 4
    """LoftQ: those that the base will be quantised to."""

    def keys(self, output: Path, adapter: Path) -> dict[str, object]:
        """What a training says that goes on from there."""
        keys: dict[str, object] = {
            "model_name_or_path": str(output),
            "adapter_name_or_path": str(adapter),
            "finetuning_type": "lora",
        }
        return {**keys, "quantization_bit": self.bits} if self.kind == "loftq" else {**keys, "pissa_convert": True}


def init_adapter(
    source: str, output: Path, wanted: FirstAdapter, *, size: int = 5, trust_remote_code: bool = False
) -> Path:
    """Write the base to `output` and the adapter to a folder in it, which is returned.

    Raises:
        RunError: the model has no such modules, or a number is out of range.
        ModelNotFound: there is no such model.
    """
    if output.resolve() == Path(source).resolve():
        raise RunError(f"{output} holds the model itself; write to another folder")
    arguments: dict[str, Any] = {DTYPE_ARGUMENT: "auto", "trust_remote_code": trust_remote_code}
    with named(source, "model") as found:
        tokenizer = AutoTokenizer.from_pretrained(found, trust_remote_code=trust_remote_code)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(found, **arguments)
    adapted = begun(model, wanted)
    adapter = output / f"{wanted.kind}_init"
    _save_adapter(adapted, adapter, output)
    base: PreTrainedModel = adapted.unload()
    generation.make_valid(base)
    files.save(base, output, size=size)
    for folder in (output, adapter):
        tokenizer.save_pretrained(str(folder))
    return adapter


def begun(model: PreTrainedModel, wanted: FirstAdapter) -> PeftModel:
    """The model with the adapter in it, and what the adapter holds taken out of its weights."""
    steps = wanted.iterations
    first: Any = True
    if wanted.kind == "pissa":
        first = "pissa" if steps == -1 else f"pissa_niter_{16 if steps is None else steps}"
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=wanted.rank,
        lora_alpha=wanted.alpha or 2 * wanted.rank,
        target_modules=targets.targets(model, wanted.target, key="--target"),
        init_lora_weights=first,
    )
    adapted: PeftModel = get_peft_model(model, config)
    if wanted.kind == "loftq":
        loftq.begin(adapted, bits=wanted.bits, iterations=4 if steps is None else steps)
    return adapted


def _save_adapter(adapted: PeftModel, folder: Path, base: Path) -> None:
    adapted.save_pretrained(str(folder))
    path = folder / "adapter_config.json"
    # Its first weights are not to be taken out of the written base again.
    changes = {"init_lora_weights": True, "base_model_name_or_path": str(base.resolve())}
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}, indent=2), encoding="utf-8"
    )
