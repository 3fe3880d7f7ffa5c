"""rope_scaling: rotary positions stretched beyond the length that the model was made for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import transformers
from transformers import PretrainedConfig

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError

_FIVE = int(transformers.__version__.partition(".")[0]) >= 5
KEPT = ("rope_theta", "partial_rotary_factor")
"""What transformers 5 keeps beside the scaling; transformers 4 has it elsewhere."""


def stretch(cfg: TrainConfig, config: PretrainedConfig) -> None:
    """Write the scaling into `config`, so that positions reach `cutoff_len`.

    The factor is that of LLaMA-Factory (model_utils/rope.py): cutoff_len over the model's own length, rounded up. Not
    as there: `dynamic` leaves `max_position_embeddings` as it is, since transformers begins to stretch beyond it;
    LLaMA-Factory raises it, and so nothing is stretched.

    Raises:
        RunError: the model has no such positions, or reaches so far by itself.
    """
    kind = cfg.model.rope_scaling
    if kind is None:
        return
    text = config.get_text_config()
    present = _present(text)
    reach = getattr(text, "max_position_embeddings", None)
    if present is None or reach is None:
        raise RunError(
            f"rope_scaling: a model of type {config.model_type} has no rotary positions to stretch; leave it out"
        )
    if any(isinstance(value, Mapping) for value in present.values()):
        raise RunError(
            f"rope_scaling: a model of type {config.model_type} has different positions in different layers, which "
            "LLaMA-Factory's key cannot say; leave it out, or write rope_parameters into its config.json"
        )
    wanted, own = cfg.data.cutoff_len, int(present.get("original_max_position_embeddings") or reach)
    if wanted <= reach:
        raise RunError(
            f"rope_scaling: the model reaches {reach} positions by itself, and cutoff_len is {wanted}; leave it out, "
            f"or set cutoff_len above {reach}"
        )
    factor = math.ceil(wanted / own)
    _write(text, {**{name: present[name] for name in KEPT if name in present}, **_scaling(kind, float(factor), own)})
    text.max_position_embeddings = own if kind == "dynamic" else own * factor


def _scaling(kind: str, factor: float, own: int) -> dict[str, Any]:
    scaling: dict[str, Any] = {"rope_type": kind, "factor": factor}
    if kind != "linear":
        scaling["original_max_position_embeddings"] = own
    if kind == "llama3":
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return scaling


def _present(text: PretrainedConfig) -> Mapping[str, Any] | None:
    """What the model has now; None if it has no such positions."""
    name = _name(text)
    return (getattr(text, name) or {}) if hasattr(text, name) else None


def _name(text: PretrainedConfig) -> str:
    """`rope_parameters` in transformers 5; in 4 `rope_scaling`, also where a file that 5 has saved names the other."""
    return "rope_parameters" if _FIVE and hasattr(text, "rope_parameters") else "rope_scaling"


def _write(text: PretrainedConfig, scaling: dict[str, Any]) -> None:
    setattr(text, _name(text), scaling)
