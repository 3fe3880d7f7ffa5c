"""Reward models that lie here: the trained model with another adapter and head, or a model of its own.

Source: LLaMA-Factory, train/trainer_utils.py (`create_reward_model`), train/ppo/ppo_utils.py (`replace_model`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import value_head
from finetune_trainer.model.reference import Reference, load_frozen
from finetune_trainer.model.sources import named

ADAPTER = "reward"
"""What the reward model's adapter is called inside the trained model."""


class RewardModel(Protocol):
    """Gives every token a value; the one at a row's last token is the row's score."""

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - accelerate.Accelerator, untyped
        """Place it as the trained model is placed, once."""
        ...

    def values(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Int64 [rows, sequence], padded on the right, to float32 [rows, sequence]; no gradient."""
        ...


def reward_model(
    cfg: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    policy: value_head.Valued,
    *,
    device: torch.device,
) -> RewardModel:
    """The reward model that the configuration names, for reward_model_type lora and full.

    Args:
        policy: the trained model, before the trainer wraps it: `lora` adds an adapter to it.

    Raises:
        ModelNotFound: it, or its adapter, is not there.
        RunError: it has no value head, or one that does not fit.
    """
    if cfg.finetuning.reward_model_type == "lora":
        assert isinstance(policy, PeftModel), "a rule of the configuration"
        return SecondAdapter(policy, cfg, device)
    return OwnModel(cfg, tokenizer, policy, device)


class SecondAdapter:
    """The trained model's base under the reward model's adapter and head; costs no memory for weights."""

    def __init__(self, policy: PeftModel, cfg: TrainConfig, device: torch.device) -> None:
        """Load adapter and head into and beside the model.

        Raises:
            ModelNotFound, RunError: see `reward_model`.
        """
        with named(cfg.finetuning.reward_model, "reward_model") as source:
            weights = _head(source, cfg)
            policy.load_adapter(source, ADAPTER)
        self._policy = policy
        self._arguments = value_head.values_only(policy)
        self._head = value_head.ValueHead(weights["v_head.summary.weight"].shape[-1], dropout=0.0)
        self._head.load_state_dict({name.removeprefix(value_head.PREFIX): tensor for name, tensor in weights.items()})
        self._head.requires_grad_(False).to(device)

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - as in RewardModel
        """The trained model's base is placed with it."""

    def values(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """See `RewardModel.values`."""
        with torch.no_grad(), _active(self._policy, ADAPTER):
            outputs = self._policy(input_ids=input_ids, attention_mask=attention_mask, **self._arguments)
        found: torch.Tensor = self._head(outputs["hidden_states"][-1])
        return found


class OwnModel:
    """A model of its own: `reward_model` with `reward_model_adapters` merged, in `reward_model_quantization_bit`."""

    def __init__(
        self, cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, policy: value_head.Valued, device: torch.device
    ) -> None:
        """Load it.

        Raises:
            ModelNotFound, RunError: see `reward_model`.
        """
        cfg = _of_its_own(cfg)
        adapters = cfg.model.adapter_name_or_path
        with named(adapters[-1] if adapters else cfg.model.model_name_or_path, "reward_model") as source:
            _head(source, cfg)
        model = load_frozen(cfg, tokenizer, device=device, key="reward_model_adapters")
        value_head.attach(model, cfg.model)
        model.requires_grad_(False).eval()
        self._arguments = value_head.values_only(model)
        self._policy = policy
        self._model = Reference(model, trained=policy)

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - as in RewardModel
        """See `RewardModel.prepare`."""
        self._model.prepare(accelerator)

    def values(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """See `RewardModel.values`."""
        with self._model.frozen(self._policy) as model:
            found: torch.Tensor = model(input_ids=input_ids, attention_mask=attention_mask, **self._arguments)["value"]
        return found


def _of_its_own(cfg: TrainConfig) -> TrainConfig:
    said = cfg.finetuning
    changes = {
        "model_name_or_path": said.reward_model,
        "adapter_name_or_path": said.reward_model_adapters,
        "quantization_bit": said.reward_model_quantization_bit,
        "train_from_scratch": False,
    }
    return cfg.model_copy(update={"model": cfg.model.model_copy(update=changes)})


def _head(source: str, cfg: TrainConfig) -> value_head.Weights:
    weights = value_head.stored(source, cfg.model)
    if weights is None:
        raise RunError(
            f"reward_model: {source} has no value head ({value_head.FILE}); name a model that stage: rm has made"
        )
    return weights


@contextmanager
def _active(model: PeftModel, adapter: str) -> Iterator[None]:
    """The model under another adapter; which weights are trained is the same afterwards."""
    before, trained = model.active_adapter, [weight for weight in model.parameters() if weight.requires_grad]
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.set_adapter(before)
        model.requires_grad_(False)
        for weight in trained:
            weight.requires_grad_(True)
