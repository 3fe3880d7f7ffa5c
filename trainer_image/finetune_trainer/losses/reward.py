"""Reward modelling: of two answers the preferred one shall score higher (Bradley-Terry).

Source: Ouyang et al. 2022, arXiv 2203.02155, equation 1; LLaMA-Factory's train/rm/trainer.py.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def last_values(values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The value at each row's last token that is no pad: the score of the whole row.

    Args:
        values: float [rows, sequence].
        attention_mask: int64 [rows, sequence], 1 on tokens, 0 on the pads at the end.

    Returns:
        float [rows].
    """
    last = (attention_mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return values.gather(1, last.to(values.device)).squeeze(1)


def pair_losses(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(chosen - rejected) of each pair.

    Args:
        chosen: float [pairs], scores.
        rejected: float [pairs].

    Returns:
        float32 [pairs].
    """
    return -functional.logsigmoid(chosen.float() - rejected.float())
