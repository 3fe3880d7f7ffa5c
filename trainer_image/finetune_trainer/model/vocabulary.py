"""The model's embeddings and the tokenizer's tokens: they must fit each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import new_tokens
from finetune_trainer.model.base import sharded

MULTIPLE = 64
"""Rows of embeddings come in multiples of it, which GPUs multiply faster."""

Means = Mapping[int, Sequence[int]]
"""Id of a new token -> ids of its description."""


def fit(cfg: TrainConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give the model an embedding for each token; whether new ones are to be learned.

    Source: LLaMA-Factory model/model_utils/embedding.py. Unlike there, a described token begins as described also
    where the model had a spare row for it, and in the output layer as the mean of that layer's own rows.

    Raises:
        RunError: it has too few and nobody asked for more, or cannot get more.
    """
    rows = getattr(model.config.get_text_config(), "vocab_size", None)
    grows = new_tokens.wished(cfg.model)
    if rows is None:
        return grows
    if len(tokenizer) > rows and not grows:
        raise RunError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows} embeddings: the template adds tokens that "
            "this model does not know; take the template that belongs to the model, or say resize_vocab: true"
        )
    means = _means(cfg, tokenizer)
    if len(tokenizer) > rows:
        _check_resizable(model)
        with torch.random.fork_rng():  # it draws rows that are not kept, others under ZeRO-3: an adapter would notice
            model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=MULTIPLE, mean_resizing=False)
    if len(tokenizer) > rows or means:
        _begin(cfg, model, rows, means)
    return grows


def _begin(cfg: TrainConfig, model: PreTrainedModel, rows: int, means: Means) -> None:
    """Draws by a generator of its own, so that every rank, a resumed run and a reference model begin alike."""
    draw = torch.Generator().manual_seed(cfg.training.seed)
    noisy = cfg.model.init_special_tokens != "desc_init"
    weights = _weights(model)
    with _whole(weights), torch.no_grad():
        for weight in weights:
            weight.copy_(first_rows(weight, rows, means, draw, noisy=noisy))


def first_rows(weight: torch.Tensor, known: int, means: Means, draw: torch.Generator, *, noisy: bool) -> torch.Tensor:
    """The matrix [tokens, width] with its new rows: the mean of the known ones, or of a description's, and noise.

    Args:
        weight: its first `known` rows are learned.
        known: so many.
        means: new tokens that begin as the mean of other rows; of rows that are new themselves nothing is taken.
        draw: for the noise, normal with deviation 1 / sqrt(width).
        noisy: also those in `means` get noise.
    """
    result = weight.detach().to("cpu", torch.float32, copy=True)
    width = result.shape[1]

    def noise(count: int) -> torch.Tensor:
        return torch.randn(count, width, generator=draw) / math.sqrt(width)

    average = result[:known].mean(dim=0)
    result[known:] = average + noise(len(result) - known)
    for token, described in means.items():
        learned = [one for one in described if one < known and one not in means]
        start = result[learned].mean(dim=0) if learned else average
        result[token] = start + noise(1)[0] if noisy else start
    return result.to(weight.device, weight.dtype)


def _means(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    if cfg.model.init_special_tokens == "noise_init":
        return {}
    found: dict[int, list[int]] = {}
    for token, description in new_tokens.asked(cfg.model).descriptions.items():
        ids: list[int] = tokenizer(description, add_special_tokens=False)["input_ids"]
        found[int(tokenizer.convert_tokens_to_ids(token))] = ids  # type: ignore[arg-type] # one token, one id
    return found


def _weights(model: PreTrainedModel) -> list[nn.Parameter]:
    modules = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    weights = {id(module.weight): module.weight for module in modules if module is not None}
    return list(weights.values())  # type: ignore[arg-type] # embeddings have one


@contextmanager
def _whole(weights: list[nn.Parameter]) -> Iterator[None]:
    """Under ZeRO-3 a rank holds a part of each weight; here all of it, and what rank 0 makes of it counts."""
    if not sharded():
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(weights, modifier_rank=0):
        yield


def _check_resizable(model: PreTrainedModel) -> None:
    if getattr(model, "quantization_method", None) is not None:
        raise RunError("resize_vocab: a quantised model's embeddings cannot grow; leave out the new tokens")
    if not isinstance(model.get_output_embeddings(), nn.Linear):  # type: ignore[no-untyped-call]
        raise RunError("resize_vocab: this model's output layer is no matrix with a row for each token")
