"""Is neat_packing what it says? Tried on the loaded model before the first step, since nobody would see it fail.

A model may read `position_ids` for its attention mask or not; it may carry state from token to token past any mask
(Mamba, linear attention); an attention kernel may ignore what it is told. So three short rows are packed and the
logits of the middle one compared with those between other neighbours, and with those of the row alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PretrainedConfig

from finetune_trainer.collate import Batch, IsolatedCollator, Layout
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.failures import RunError
from finetune_trainer.model.modes import evaluating

_ROWS = (11, 17, 9)
_MIDDLE = slice(_ROWS[0], _ROWS[0] + _ROWS[1])
"""Tokens of three rows; the one in the middle is looked at."""
_MOST = {torch.float32: (1e-3, 1e-3)}
_MOST_HALF = (0.02, 0.1)
"""Shares of the logits' spread that the two differences of a `Trial` may reach, by what the model computes in; the
second also for quantised weights. Measured on SmolLM2: leak 0 and gap 1e-7 in float32, 0 and 0.002 in bfloat16; where
rows see each other, 3.7 and 0.6.
"""
_KEY = {"eager": "disabled", "flash_attention_2": "fa2", "flash_attention_3": "fa3"}
"""transformers' names of attention as flash_attn has them."""


class PackedRowsLeak(RunError):
    """Rows that neat_packing puts together see each other on this model."""


class Trial(NamedTuple):
    """How a layout did."""

    leak: float
    """Largest change of a logit when the neighbours change, in logits."""
    gap: float
    """Mean difference to the row alone, in logits: other shapes round otherwise, so the largest says little."""
    spread: float
    """Standard deviation of the row's logits."""


def collator(
    model: nn.Module, pad_token_id: int, *, device: torch.device, compute: torch.dtype | None = None
) -> IsolatedCollator:
    """Find the layout in which this model keeps packed rows apart. All ranks call it, also under ZeRO-3.

    Args:
        model: loaded and with its adapter, before the trainer wraps it, on `device` unless it is sharded. Left as it
            was: train or eval mode, gradients, random numbers.
        pad_token_id: of the tokenizer.
        device: where the run computes.
        compute: what autocast computes in (bfloat16, float16), None without autocast.

    Raises:
        PackedRowsLeak: there is none.
    """
    attention = getattr(_config(model), "_attn_implementation", None) or "eager"
    dtype = compute or _dtype(model)
    told = []
    with evaluating(model), _gathering(model), torch.no_grad(), _autocast(device, compute):
        alone = _logits(model, {"input_ids": _tokens(model, pad_token_id)[:1, _MIDDLE]}, device)[0, 1:]
        for layout in layouts(attention, _config(model)):
            collate = IsolatedCollator(pad_token_id=pad_token_id, layout=layout, dtype=dtype)
            try:
                trial = _try(model, collate, device, alone)
            except (TypeError, ValueError, RuntimeError, IndexError) as error:  # the model knows no such arguments
                told.append(f"{layout}: {type(error).__name__}: {error}")
                continue
            leak, gap = _MOST.get(dtype, _MOST_HALF)
            if trial.leak <= leak * trial.spread and trial.gap <= gap * trial.spread:
                return collate
            told.append(f"{layout}: difference {max(trial.leak, trial.gap):.2g}")
    raise PackedRowsLeak(_message(model, attention, told))


def layouts(attention: str, config: PretrainedConfig) -> tuple[Layout, ...]:
    """Which layouts may keep rows apart under an attention implementation, best first."""
    if "flash" in attention:
        return (Layout.FLAT,)
    if attention in ("sdpa", "eager") and not _has_windows(config):
        return (Layout.POSITIONS, Layout.MASK)
    return (Layout.POSITIONS,)  # flex takes no 4-D tensor


def _has_windows(config: PretrainedConfig) -> bool:
    """Attention that does not reach all the way back: a 4-D mask would make it reach."""
    kinds = getattr(config, "layer_types", None) or ()
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    return bool(window) and getattr(config, "use_sliding_window", True)


def _try(model: nn.Module, collate: IsolatedCollator, device: torch.device, alone: torch.Tensor) -> Trial:
    batch = collate([_packed(ids) for ids in _tokens(model, collate.pad_token_id)])
    looked_at = batch.pop("labels") != IGNORE_INDEX
    one, other = _logits(model, batch, device)[looked_at].chunk(2)
    return Trial(
        leak=float((one - other).abs().max()),
        gap=float((one - alone).abs().mean()),
        spread=float(alone.std()),
    )


def _tokens(model: nn.Module, pad_token_id: int) -> torch.Tensor:
    """Ids of two packed sequences with the same row in the middle: int64 [2, tokens]."""
    vocabulary = _config(model).vocab_size
    ids = torch.randint(vocabulary, (2, sum(_ROWS)), generator=torch.Generator().manual_seed(0))
    ids[ids == pad_token_id] = (pad_token_id + 1) % vocabulary  # some models look for pads themselves
    ids[1, _MIDDLE] = ids[0, _MIDDLE]
    return ids


def _packed(ids: torch.Tensor) -> Mapping[str, list[int]]:
    """Three rows as the packer packs them, with three pads; only the middle one's labels are set."""
    lengths = torch.tensor([*_ROWS, 3])
    number = torch.arange(1, 5).repeat_interleave(lengths)
    position = torch.cat([torch.arange(length) for length in _ROWS])
    pads = [0] * 3
    return {
        "input_ids": [*ids.tolist(), *pads],
        "labels": torch.where(number == 2, 0, IGNORE_INDEX).tolist(),
        "attention_mask": torch.where(number == 4, 0, number).tolist(),
        "position_ids": [*position.tolist(), *pads],
    }


def _logits(model: nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    logits: torch.Tensor = model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
    return logits.float().cpu()


def _config(model: nn.Module) -> PretrainedConfig:
    """Of the part that reads text."""
    config = model.config
    assert isinstance(config, PretrainedConfig)
    text: PretrainedConfig = config.get_text_config()
    return text


def _dtype(model: nn.Module) -> torch.dtype:
    """The coarsest type that the model computes in without autocast: an adapter's weights may be finer than the base.

    Quantised weights (bytes) are turned into bfloat16 or float16.
    """
    kinds = {parameter.dtype for parameter in model.parameters()}
    if torch.float16 in kinds:
        return torch.float16
    return torch.float32 if kinds <= {torch.float32, torch.float64} else torch.bfloat16


def _autocast(device: torch.device, compute: torch.dtype | None) -> torch.autocast | nullcontext[None]:
    return nullcontext() if compute is None else torch.autocast(device.type, dtype=compute)


@contextmanager
def _gathering(model: nn.Module) -> Iterator[None]:
    """Under ZeRO-3 no rank has all weights: those of a block are fetched while it computes, and let go after."""
    with ExitStack() as hooks:
        for module, weights in _blocks(model):
            sharded = [weight for weight in weights if hasattr(weight, "ds_id")]
            if sharded:
                _gather_around(module, sharded, hooks)
        yield


def _blocks(module: nn.Module) -> Iterator[tuple[nn.Module, list[nn.Parameter]]]:
    """Layers with all that is in them, as their parts look into each other; what is not in a layer by itself."""
    yield module, list(module.parameters(recurse=False))
    for child in module.children():
        if isinstance(module, nn.ModuleList):
            yield child, list(child.parameters())
        else:
            yield from _blocks(child)


def _gather_around(module: nn.Module, weights: list[nn.Parameter], hooks: ExitStack) -> None:
    import deepspeed

    held: list[Any] = []

    def fetch(*_: object) -> None:
        held.append(deepspeed.zero.GatheredParameters(weights))
        held[-1].__enter__()

    def release(*_: object) -> None:
        held.pop().__exit__(None, None, None)

    hooks.callback(module.register_forward_pre_hook(fetch).remove)
    hooks.callback(module.register_forward_hook(release, always_call=True).remove)


def _message(model: nn.Module, attention: str, told: list[str]) -> str:
    name = getattr(model.config, "model_type", type(model).__name__)
    instead = "flash_attn: sdpa, or " if "flash" in attention else ""
    return (
        f"neat_packing: rows of one sequence see each other with flash_attn {_KEY.get(attention, attention)} on this "
        f"model ({name}; tried {'; '.join(told)}); write {instead}packing: true in place of neat_packing"
    )
