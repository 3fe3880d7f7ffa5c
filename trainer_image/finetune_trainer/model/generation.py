"""A model's own generation settings, valid enough to be saved again."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel


def make_valid(model: PreTrainedModel) -> None:
    """Some models ship sampling settings without do_sample; transformers would refuse to save them."""
    generation = getattr(model, "generation_config", None)
    if generation is not None and not generation.do_sample and _samples(generation):
        generation.do_sample = True


def _samples(generation: Any) -> bool:  # noqa: ANN401 - GenerationConfig, untyped
    unset = (None, 1.0)
    return any(getattr(generation, name, None) not in unset for name in ("temperature", "top_p", "typical_p"))
