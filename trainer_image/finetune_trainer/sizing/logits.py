"""Pure: the scores of the vocabulary and what the loss makes of them, in bytes for each token that is learned.

With V tokens in the vocabulary, as stages.token_mean does it:

    first micro batch   the model's own loss is held against ours: scores of all tokens, their log-softmax, and once
                        more both for the learned ones: 16 V, where results are half precision without autocast 14 V
    backward pass       the log-softmax that was kept, the gradient that enters it, and the one that leaves it: 12 V

Other stages keep scores and their gradient for all tokens of all rows, and all three of one row (losses.answers). In
the worst case, which counts here, every token is learned.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetune_trainer.config import TrainConfig
from finetune_trainer.sizing.activations import Way
from finetune_trainer.sizing.architecture import Architecture
from finetune_trainer.sizing.numbers import FULL, HALF, Numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Logits:
    """Bytes of a micro batch's scores at four moments."""

    inside: float
    """Inside the forward pass of the run's first micro batch."""
    first: float
    """After the forward pass of the run's first micro batch."""
    forward: float
    """Inside every later forward pass."""
    backward: float
    """When the backward pass begins."""


def of(cfg: TrainConfig, model: Architecture, way: Way, *, tokens: int) -> Logits:
    """Of a micro batch of so many tokens, by the stage and its loss."""
    numbers = way.numbers
    stage = cfg.finetuning.stage
    if stage == "rm":
        return Logits(inside=0.0, first=0.0, forward=0.0, backward=0.0)
    if stage in ("dpo", "kto"):
        return _answers(model, numbers, tokens=tokens, length=way.length)
    if way.fused:
        return _pieces(model, tokens)
    scores = float(tokens * model.vocabulary)
    half = numbers.compute == HALF
    forward = scores * (FULL + (HALF if half else 0.0))
    kept = _KEPT.get(_loss(cfg), 3 * FULL) * scores
    if _loss(cfg):
        return Logits(inside=forward, first=kept, forward=forward, backward=kept)
    first = scores * (4 * FULL if numbers.autocast or not half else 3 * FULL + HALF)
    return Logits(inside=forward + FULL * scores, first=first, forward=forward, backward=kept)


_KEPT = {"smoothed": 5 * FULL, "eaft": 3 * FULL, "dft": 3 * FULL, "asft": 7 * FULL}
"""Bytes for each score of losses that are not cross entropy; asft has the reference's beside them."""


def _loss(cfg: TrainConfig) -> str:
    keys = cfg.finetuning
    named = {
        "asft": keys.use_asft_loss,
        "dft": keys.use_dft_loss,
        "eaft": keys.use_eaft_loss,
        "smoothed": bool(cfg.training.label_smoothing_factor),
    }
    return next((name for name, wanted in named.items() if wanted), "")


def _answers(model: Architecture, numbers: Numbers, *, tokens: int, length: int) -> Logits:
    scores, row = float(tokens * model.vocabulary), 3 * FULL * length * model.vocabulary
    each = FULL if numbers.autocast else numbers.compute
    forward = scores * (each + (HALF if numbers.autocast else 0.0))
    return Logits(inside=forward, first=scores * each + row, forward=forward, backward=2 * scores * each + row)


def _pieces(model: Architecture, tokens: int) -> Logits:
    """Liger takes so many tokens at a time that scores are no larger than the hidden states.

    The output layer's gradient is made in the forward pass (liger_kernel/ops/fused_linear_cross_entropy.py).
    """
    times = -(-model.vocabulary // model.width)
    piece = 1 << max(0, (-(-tokens // times) - 1).bit_length())
    made = piece * model.vocabulary * (HALF + FULL) + FULL * model.vocabulary * model.width
    return Logits(inside=made, first=made, forward=made, backward=HALF * model.vocabulary * model.width)
