"""The mean over learned tokens: micro batches add up, a mixture's router counts once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from finetune_trainer.losses import tokens
from finetune_trainer.stages.token_mean import TokenMean

SMALL: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2,
}  # fmt: skip
IDS = torch.randint(3, 32, (6, 9), generator=torch.Generator().manual_seed(2))
LABELS = IDS.masked_fill(torch.arange(9) < torch.tensor([[2], [7], [9], [4], [1], [8]]), -100)
"""The third row teaches nothing, the others unequally much."""


def mixture(weight: float, *, told: bool = True) -> MixtralForCausalLM:
    """A mixture of four experts that tells its router's loss."""
    torch.manual_seed(0)
    config = MixtralConfig(
        **SMALL, num_local_experts=4, output_router_logits=told, router_aux_loss_coef=weight, router_jitter_noise=0.0
    )
    return MixtralForCausalLM(config)


def total(model: torch.nn.Module, objective: TokenMean, size: int) -> torch.Tensor:
    """The loss of all rows, in micro batches of a size."""
    batches = [{"input_ids": IDS[at : at + size], "labels": LABELS[at : at + size]} for at in range(0, 6, size)]
    count = torch.tensor(float(sum(objective.items(batch) for batch in batches)))
    return torch.stack([objective.loss(model, batch, count) for batch in batches]).sum().detach()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_add_up(size: int) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    by_model, by_hand = TokenMean(model), TokenMean(model, token_loss=tokens.cross_entropy)
    assert torch.allclose(total(model, by_model, size), total(model, by_model, 6), atol=1e-6)
    assert torch.allclose(total(model, by_hand, size), total(model, by_model, 6), atol=1e-6)


def scores_seen(model: LlamaForCausalLM) -> list[int]:
    """How many tokens' scores the output layer computes at each call from now on."""
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _module, _inputs, scores: seen.append(scores[..., 0].numel()))
    return seen


def test_scores_are_computed_for_learned_tokens_alone() -> None:
    """All of them once, to see that the model's own loss is cross entropy; then 23 of 54."""
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    objective, seen = TokenMean(model), scores_seen(model)
    losses = [float(total(model, objective, 6)) for _ in range(3)]
    assert seen == [54, 23, 23]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_gradients_are_the_same() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    found = []
    for narrow in (False, True):
        model.zero_grad()
        objective = TokenMean(model, token_loss=tokens.cross_entropy, narrow=narrow)
        objective.loss(model, {"input_ids": IDS, "labels": LABELS}, torch.tensor(3.0)).backward()
        found.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
    assert len(found[0]) == len(list(model.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


class WithMore(LlamaForCausalLM):
    """Its loss is more than cross entropy, as that of some models with code of their own."""

    def forward(self, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        """One is added."""
        outputs = super().forward(labels=labels, **inputs)
        if outputs.loss is not None:
            outputs.loss = outputs.loss + 1.0
        return outputs


def test_a_loss_that_a_model_adds_is_kept() -> None:
    torch.manual_seed(0)
    model = WithMore(LlamaConfig(**SMALL))
    objective, seen = TokenMean(model), scores_seen(model)
    kept = [float(total(model, objective, 6)) for _ in range(2)]
    plain = float(total(model, TokenMean(model, token_loss=tokens.cross_entropy), 6))
    assert kept == pytest.approx([plain + 1.0] * 2, abs=1e-6)
    assert seen == [54, 54, 23]


def test_evaluation_says_nothing_of_what_a_model_adds_in_training() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    objective, seen = TokenMean(model), scores_seen(model)
    for mode in (False, True, True):
        total(model.train(mode), objective, 6)
    assert seen == [54, 54, 23]


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_routers_loss_counts_once_however_many_micro_batches(by_hand: bool) -> None:
    """It depends on the micro batch, and so is no exact mean; transformers would add it once for each of six."""
    loss = tokens.cross_entropy if by_hand else None
    router = {}
    for size in (6, 1):
        with_router, without = mixture(1.0), mixture(0.0)
        router[size] = float(
            total(with_router, TokenMean(with_router, token_loss=loss), size)
            - total(without, TokenMean(without, token_loss=loss), size)
        )
    assert router[6] > 1
    assert router[1] == pytest.approx(router[6], rel=0.5)
