"""Micro batches whose losses nobody has looked at yet: a loss that is not finite is found, and its rows are named.

Looking at a loss makes the CPU wait for the GPU, so on a GPU many are looked at together; before a checkpoint is
written all are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerBase

PENDING = 64
"""Micro batches after which a GPU's losses are looked at."""
BEGINNING = 32
"""Tokens of a row that are shown."""
SHOWN = 8
"""Rows that are shown."""
ADVICE = (
    "Look at these rows; if they are sound, a smaller learning_rate or max_grad_norm, or bf16 in place of fp16, "
    "usually helps. Checkpoints so far are kept"
)


@dataclass(frozen=True, slots=True)
class Ruined:
    """The first micro batch of a rank whose loss is not finite."""

    step: int
    loss: float
    place: tuple[int, int]
    """Epoch, and number of the micro batch among this rank's in it."""
    ids: tuple[tuple[int, ...], ...]
    """The first tokens of each row."""


class Ledger:
    """This rank's micro batches in their order: `drawn` when a step's are known, `done` as each is computed."""

    def __init__(self) -> None:
        self._drawn: list[tuple[int, tuple[int, int], list[torch.Tensor]]] = []
        self._losses: list[torch.Tensor] = []

    def drawn(self, step: int, place: tuple[int, int], batch: Mapping[str, torch.Tensor]) -> None:
        """A micro batch of the step that is about to begin.

        Args:
            step: from 1.
            place: epoch, and number of the micro batch among this rank's in it.
            batch: on the CPU.
        """
        self._drawn.append((step, place, _beginnings(batch)))

    def done(self, loss: torch.Tensor) -> None:
        """The loss of the next of them, float [], left on its device."""
        self._losses.append(loss.detach())

    def is_due(self) -> bool:
        """Whether looking costs nothing, or has been put off for long enough; alike on every rank."""
        return bool(self._losses) and (self._losses[0].device.type == "cpu" or len(self._losses) >= PENDING)

    def look(self) -> Ruined | None:
        """The first micro batch that is ruined; all are forgotten then."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        seen, self._drawn = self._drawn[: len(losses)], self._drawn[len(losses) :]
        self._losses = []
        for (step, place, ids), loss in zip(seen, losses, strict=False):
            if loss - loss != 0:  # infinite or not a number
                return Ruined(step, loss, place, tuple(tuple(row.tolist()) for row in ids))
        return None


def _beginnings(batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """The first tokens of each row, without pads where a mask tells them."""
    ids, mask = batch.get("input_ids"), batch.get("attention_mask")
    if ids is None:
        return []
    if mask is None or mask.shape != ids.shape:
        return [row[:BEGINNING].clone() for row in ids]
    return [row[seen.bool()][:BEGINNING] for row, seen in zip(ids, mask, strict=True)]


def words(ruined: Ruined, rows: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """What people are told.

    Args:
        ruined: the first of all ranks.
        rows: numbers of its rows in the training set; none of a stream.
        tokenizer: to show them.
    """
    ids = ruined.ids[: len(rows)] if rows else ruined.ids
    texts = [str(tokenizer.decode(list(row))) for row in ids]
    named = [f"row {number}: {text!r}" for number, text in zip(rows, texts, strict=False)] or list(map(repr, texts))
    shown = "; ".join(named[:SHOWN]) + (f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
    return f"the loss is {ruined.loss} at step {ruined.step}, in a micro batch of {shown}. {ADVICE}"


def finite(model: nn.Module) -> bool:
    """Whether every trained weight of this rank is finite; of split ones, this rank's share."""
    shares = [getattr(one, "ds_tensor", one).detach() for one in model.parameters() if one.requires_grad]
    local = [share.to_local() if isinstance(share, DTensor) else share for share in shares]
    flags = [torch.isfinite(one).all() for one in local if one.numel()]
    return all(torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()) if flags else True
