"""Pure: the arithmetic that a model needs for a token, which is what its utilisation (MFU) is measured by.

A product with a matrix of n numbers is 2n operations for a token; backwards it is 2n for the gradient of what went in
and 2n for the matrix's own, which a frozen one has not: 6N where all learns, 4N and the adapters' share under LoRA.
Attention is 12 L H Q T, with T the tokens that a token is compared with; a causal mask is not taken off. Both are
PaLM's (https://arxiv.org/abs/2204.02311, appendix B). What gradient checkpointing computes again does not count, and
neither do norms, lookups of embeddings and the optimiser: all as there.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing import parameters, trained
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.parameters import Weight
from finetune_trainer.sizing.trained import Trained

_STAGES = ("pt", "sft", "rm", "dpo")
"""Of which it is known how often each model runs: kto adds a pass over other rows, ppo generates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Operations of one token in training, forwards and backwards."""

    products: float
    attention: float
    """For each token that it is compared with; 0 where their number is not known."""

    def of_token(self, length: float) -> float:
        """In rows of so many tokens. Rows of unequal length take more than those of their mean length: too low."""
        return self.products + self.attention * length


def of(cfg: TrainConfig, model: Architecture) -> Work | None:
    """Work of a token; None where it is not known.

    Raises:
        TargetUnknown: a key names layers that the model has not.
    """
    if cfg.finetuning.stage not in _STAGES or cfg.finetuning.use_asft_loss:
        return None
    learns = trained.of(cfg, model)
    inside = [_inside(model, number) for number in range(model.layers)]
    head = model.vocabulary * model.width if cfg.finetuning.stage != "rm" else 0
    above, deep = sum(inside[learns.lowest :]) + head, model.layers - learns.lowest
    forward = sum(inside) + head
    passes = 2 * forward * (2 if _has_reference(cfg) else 1) + 2 * above
    own = _of_adapters(model, learns, head) if learns.adapters else 2 * min(learns.base, above)
    across = 2 * (model.query_width + model.answer_width)
    layers = model.layers * (2 if _has_reference(cfg) else 1) + 2 * deep
    apart = cfg.data.neat_packing  # documents of unknown length see themselves alone
    return Work(products=float(passes + own), attention=0.0 if apart else float(across * layers))


def _of_adapters(model: Architecture, learns: Trained, head: int) -> int:
    """Adapters are gone through both ways and learn; a copy of the output layer stands in for the one that counts."""
    copied = model.vocabulary * model.width * (learns.embeddings + learns.head)
    return 6 * max(0, learns.adapters - copied) + (2 * head if learns.head else 0)


def _inside(model: Architecture, number: int) -> int:
    """Numbers that a token is multiplied with in a layer."""
    return sum(_active(model, weight) for weight in parameters.layer(model, number))


def _active(model: Architecture, weight: Weight) -> int:
    """Of experts only those that a token goes through."""
    if weight.group == "norms":
        return 0
    if weight.group == "experts" and model.experts is not None:
        return weight.count // model.experts.count * model.experts.chosen
    return weight.count


def _has_reference(cfg: TrainConfig) -> bool:
    """Whether each row goes through a second model, or through the first without its adapter."""
    return cfg.finetuning.stage == "dpo" and cfg.finetuning.pref_loss not in ("orpo", "simpo")
