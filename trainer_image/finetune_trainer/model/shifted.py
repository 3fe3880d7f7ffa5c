"""shift_attn: LongLoRA's shifted sparse attention (S2-Attn, arXiv 2309.12307), for training alone.

A quarter of cutoff_len makes a group; half of the heads attend inside groups, the other half inside groups that are
shifted by half of one. When the model evaluates or generates, it attends to everything.

Not as in LLaMA-Factory (model_utils/longlora.py, which asks for transformers below 4.48 and so cannot run in 0.9.5):
there, the first half group and the last one attend to each other, and the first tokens see the last; here they stand
alone. A group is a quarter of cutoff_len, there of the batch's longest row, so that it changed from batch to batch.
Rows as long as cutoff_len are alike but for that half group.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPS = 4


def register(cutoff_len: int) -> str:
    """Tell transformers this attention, with groups of an even number of tokens; returns its name."""
    group = 2 * max(1, round(cutoff_len / (2 * GROUPS) + 0.499))
    name = f"shifted_sparse_{group}"
    AttentionInterface.register(name, functools.partial(shifted_sparse, group=group))
    AttentionMaskInterface.register(name, sdpa_mask)
    return name


def shifted_sparse(  # noqa: PLR0913 - transformers decides
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    group: int,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,  # noqa: ANN401 - transformers passes what other attentions need
) -> tuple[torch.Tensor, None]:
    """Attention of one layer. The mask is not read in training: pads stand behind all tokens, which look only back.

    Args:
        module: the layer; `training` decides.
        query: [batch, heads, sequence, width], positions already in it.
        key: [batch, heads of keys, sequence, width].
        value: as `key`.
        attention_mask: for evaluation.
        group: tokens, even.
        dropout: share of attention weights left out.
        scaling: of the scores.

    Returns:
        [batch, sequence, heads, width], and no weights.
    """
    if not module.training:
        whole: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return whole
    key, value = (states.repeat_interleave(query.shape[1] // states.shape[1], dim=1) for states in (key, value))
    plain, shifted = ([states.chunk(2, dim=1)[half] for states in (query, key, value)] for half in (0, 1))
    attend = functools.partial(_in_groups, dropout=dropout, scaling=scaling)
    first = attend([states[:, :, : group // 2] for states in shifted], group // 2)
    rest = attend([states[:, :, group // 2 :] for states in shifted], group)
    attended = torch.cat([attend(plain, group), torch.cat([first, rest], dim=2)], dim=1)
    return attended.transpose(1, 2).contiguous(), None


def _in_groups(states: list[torch.Tensor], group: int, *, dropout: float, scaling: float | None) -> torch.Tensor:
    """Causal attention inside each run of `group` tokens: three times [batch, heads, sequence, width] -> one."""
    batch, _, length, _ = states[0].shape
    if length == 0:
        return states[0]
    query, key, value = (_folded(state, group) for state in states)
    attended = functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling
    )
    groups = attended.reshape(batch, -1, *attended.shape[1:])
    return groups.transpose(1, 2).flatten(2, 3)[:, :, :length]


def _folded(state: torch.Tensor, group: int) -> torch.Tensor:
    """[batch, heads, sequence, width] -> [batch * groups, heads, group, width], the last filled up with zeros."""
    batch, heads, length, width = state.shape
    filled = functional.pad(state, (0, 0, 0, -length % group))
    return filled.reshape(batch, heads, -1, group, width).transpose(1, 2).flatten(0, 1)
