"""Reference models: what the trained model is held near, in stages dpo, kto and ppo, and in asft.

Three kinds, as in LLaMA-Factory's create_ref_model: a model of its own (`ref_model`); with an adapter the trained
model with its adapter switched off, which costs no memory; else a second copy of the base model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model import kernels, quantisation, vocabulary
from finetune_trainer.model.base import load_base
from finetune_trainer.model.tuning import adapters


class Reference:
    """A frozen model. `prepare` once after the trainer is made, then ask with `frozen` as often as you like."""

    def __init__(self, own: PreTrainedModel | PeftModel | None, *, trained: PreTrainedModel | PeftModel) -> None:
        """Of a model of its own, frozen and in evaluation mode, or else of the trained one below its adapter."""
        self._own: Any = own  # later perhaps in DeepSpeed's or FSDP's hands
        self._trained = trained
        self._prepared = own is None or quantisation.is_quantised(own)  # placed when it was loaded

    def prepare(self, accelerator: Any) -> None:  # noqa: ANN401 - accelerate.Accelerator, untyped
        """Place a model of its own as the trained one is placed: on its device, or split over the ranks."""
        if self._prepared:
            return
        self._prepared = True
        kind = str(accelerator.distributed_type.value)
        if kind == "DEEPSPEED":
            from trl.models.utils import prepare_deepspeed

            self._own = prepare_deepspeed(self._own, accelerator)
        elif kind == "FSDP":
            from accelerate.utils.fsdp_utils import fsdp2_prepare_model

            self._own = fsdp2_prepare_model(accelerator, self._own)  # layer by layer; trl's splits it in one piece
        else:
            self._own = accelerator.prepare_model(self._own, evaluation_mode=True)

    @contextmanager
    def frozen(self, policy: nn.Module) -> Iterator[nn.Module]:
        """The model to call, without gradients and without dropout while the context lasts.

        Args:
            policy: the trained model, wrapped for this run; as it was before, afterwards.
        """
        with torch.no_grad():
            if self._own is not None:
                yield self._own
                return
            assert isinstance(self._trained, PeftModel)
            trains = policy.training
            policy.eval()
            with self._trained.disable_adapter():
                yield policy
            policy.train(trains)


def reference(
    cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, policy: PreTrainedModel | PeftModel, *, device: torch.device
) -> Reference:
    """The reference of a trained model, by the configuration.

    Raises:
        ModelNotFound: the reference model or one of its adapters is not there.
        RunError: it has fewer embeddings than the tokenizer has tokens, or can't be quantised here.
    """
    if cfg.finetuning.ref_model is not None:
        own = _load_own(_of_its_own(cfg), tokenizer, device=device)
    elif isinstance(policy, PeftModel) and not _begins_elsewhere(cfg):
        own = None
    else:
        own = load_frozen(cfg, tokenizer, device=device, key="adapter_name_or_path")
    return Reference(own, trained=policy)


def _load_own(
    cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, *, device: torch.device
) -> PreTrainedModel | PeftModel:
    try:
        return load_frozen(cfg, tokenizer, device=device, key="ref_model_adapters")
    except RunError as error:
        raise type(error)(str(error).replace("model_name_or_path:", "ref_model:", 1)) from error


def load_frozen(
    cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase, *, device: torch.device, key: str
) -> PreTrainedModel | PeftModel:
    """The model that `cfg` names, its adapters merged, for asking only.

    Args:
        key: under which the user has named the adapters, for messages.
    """
    with torch.random.fork_rng():
        torch.manual_seed(cfg.training.seed)  # new embeddings begin as those of the trained model do
        base = load_base(cfg, device=device)
        vocabulary.fit(cfg, base, tokenizer)
    kernels.apply(cfg, base)
    base.config.use_cache = False
    quantisation.finish(cfg, base)
    model = _with_adapters(cfg, base, cfg.model.adapter_name_or_path, key)
    model.requires_grad_(False)
    return model.eval()


def _with_adapters(
    cfg: TrainConfig, model: PreTrainedModel, given: tuple[str, ...], key: str
) -> PreTrainedModel | PeftModel:
    if not quantisation.is_quantised(model):
        for adapter in given:
            model = adapters.merge(model, adapter, cfg.model, key=key)
        return model
    if len(given) > 1:
        raise RunError(f"{key}: a quantised model carries one adapter, not {len(given)}; merge them before")
    return adapters.over(model, given[0], cfg.model, key=key) if given else model


def _of_its_own(cfg: TrainConfig) -> TrainConfig:
    """The configuration of the reference model: as the trained one's, but for its name, adapters and bits."""
    said = cfg.finetuning
    changes = {
        "model_name_or_path": said.ref_model,
        "adapter_name_or_path": said.ref_model_adapters,
        "quantization_bit": said.ref_model_quantization_bit,
        "train_from_scratch": False,
    }
    return cfg.model_copy(update={"model": cfg.model.model_copy(update=changes)})


def _begins_elsewhere(cfg: TrainConfig) -> bool:
    """PiSSA moves a part of the base's weights into the adapter: switched off, it leaves less than the base."""
    continued = cfg.model.adapter_name_or_path and not cfg.finetuning.create_new_adapter
    return bool(cfg.finetuning.pissa_init and not continued)
