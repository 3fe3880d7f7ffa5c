"""A rollout: this rank's prompts answered, scored, and compared with the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from finetune_trainer.collate import Batch
from finetune_trainer.examples import IGNORE_INDEX
from finetune_trainer.losses.tokens import learned
from finetune_trainer.model import Reference
from finetune_trainer.stages.ppo.experience import Answer, stack
from finetune_trainer.stages.ppo.sampling import Sampler
from finetune_trainer.stages.ppo.scoring import Scorer


class Rollouts:
    """Models and what drives them; under ZeRO-3 and FSDP every rank makes the same number of equal calls."""

    def __init__(self, *, policy: nn.Module, sampler: Sampler, scorer: Scorer, reference: Reference, pad: int) -> None:
        """`policy`: the trained model with its head, as it is before the trainer wraps it."""
        self._policy = policy
        self._sampler = sampler
        self._scorer = scorer
        self._reference = reference
        self.pad = pad

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - accelerate.Accelerator, untyped
        """Place the models beside the trained one, once that is placed."""
        self._reference.prepare(accelerator)
        self._scorer.prepare(accelerator)

    def __call__(self, prompts: Batch, *, step: int, places: Sequence[int]) -> list[Answer]:
        """Answer a micro batch of prompts; to be called without gradients.

        Args:
            prompts: of `PromptCollator`, on the device.
            step: of the run.
            places: of the prompts among those of the step, over all ranks.

        Returns:
            An answer for each prompt whose weight is not 0.
        """
        self._policy.eval()
        drawn = self._sampler(self._policy, prompts, step=step, places=places)
        padded = zip(prompts["input_ids"], prompts["attention_mask"], strict=True)
        asked = [ids[mask.bool()].tolist() for ids, mask in padded]
        rows = [(prompt + answer, len(prompt)) for prompt, answer in zip(asked, drawn, strict=True)]
        batch = {name: value.to(prompts["input_ids"].device) for name, value in stack(rows, self.pad).items()}
        read = zip(self._read(batch), self._scorer(batch), places, rows, prompts["weight"].tolist(), strict=True)
        return [
            Answer(place=place, ids=ids, prompt=prompt, score=score, **tensors)
            for tensors, score, place, (ids, prompt), weight in read
            if weight
        ]

    def _read(self, batch: Batch) -> Iterator[dict[str, torch.Tensor]]:
        """For each row what Answer wants to know of its tokens."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logprobs, values, _ = read(self._policy, batch)
        with self._reference.frozen(self._policy) as reference:
            logits = reference(**inputs, use_cache=False)["logits"]
        reference_logprobs = _logprobs(*learned(logits, batch["labels"]))
        lengths = batch["labels"][:, 1:].ne(IGNORE_INDEX).sum(dim=1).tolist()
        named = {"logprobs": logprobs, "divergence": logprobs - reference_logprobs, "values": values}
        rows = {name: torch.split(tensor.float().cpu(), lengths) for name, tensor in named.items()}
        return (dict(zip(rows, tensors, strict=True)) for tensors in zip(*rows.values(), strict=True))


def read(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the learned tokens of all rows: log probabilities and values before them, float32 [tokens], and logits,
    float32 [tokens, vocabulary].
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    outputs = model(**inputs, use_cache=False, output_hidden_states=True)
    logits, targets = learned(outputs["logits"], batch["labels"])
    values = outputs["value"][:, :-1][batch["labels"][:, 1:].ne(IGNORE_INDEX)]
    return _logprobs(logits, targets), values, logits


def _logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
