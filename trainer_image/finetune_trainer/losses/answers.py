"""Log-probabilities of answers: what pairs, verdicts and rewards are computed from."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from finetune_trainer.examples import IGNORE_INDEX


def token_logps(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The log-probability of each learned token, given those before it.

    Row by row, learned tokens only, and computed again in the backward pass: of the logits' float32 copy and softmax
    there is never more than one row's.

    Args:
        logits: [rows, sequence, vocabulary], of any float type.
        labels: int64 [rows, sequence], -100 where nothing is learned.

    Returns:
        float32 [rows, sequence - 1]; 0 where nothing is learned.
    """
    targets = labels[:, 1:].to(logits.device)
    rows = zip(logits[:, :-1], targets, strict=True)
    return torch.stack([checkpoint(_row_logps, row, wanted, use_reentrant=False) for row, wanted in rows])


def _row_logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    learned = targets != IGNORE_INDEX
    logps = logits[learned].float().log_softmax(-1).gather(1, targets[learned, None]).squeeze(1)
    return torch.zeros(targets.shape, device=logits.device).masked_scatter(learned, logps)


def common_length(labels: torch.Tensor) -> torch.Tensor:
    """Where both answers of a pair still have tokens (LD-DPO, arXiv 2409.06411, equation 7).

    Args:
        labels: int64 [2 * pairs, sequence], chosen answers first; -100 where nothing is learned.

    Returns:
        bool [2 * pairs, sequence - 1], true for the first min(chosen, rejected) learned tokens of each row.
    """
    learned = labels[:, 1:] != IGNORE_INDEX
    lengths = learned.sum(-1)
    chosen, rejected = lengths.chunk(2)
    shorter = torch.minimum(chosen, rejected).repeat(2)
    return learned & (learned.cumsum(-1) <= shorter[:, None])
