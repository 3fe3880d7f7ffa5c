"""A value for each token: what rewards (rm) and PPO's critic read off a language model.

The head is a child of the model, `v_head`, and a forward hook adds `value` to what the model returns whenever the
caller asks for hidden states. So the model stays what it was for everything else: adapters, generation, sharding,
optimisers and saving see one more module of it. Names of weights and of the file are LLaMA-Factory's
(train/callbacks.py, model/model_utils/valuehead.py) and trl's (models/modeling_value_head.py, 0.9 to 0.24).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from finetune_trainer.config.model import ModelGroup
from finetune_trainer.failures import RunError
from finetune_trainer.model.tuning import adapters

FILE = "value_head.safetensors"
PREFIX = "v_head."

_PICKLED = "value_head.bin"
_AMONG_OTHERS = "model.safetensors"

Valued = PreTrainedModel | PeftModel
Weights = dict[str, torch.Tensor]
"""`v_head.summary.weight` [1, width] and `v_head.summary.bias` [1]."""


class ValueHead(nn.Module):
    """Hidden state to value, with trl's dropout before it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.summary = nn.Linear(width, 1, dtype=torch.float32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[batch, sequence, width] to float32 [batch, sequence], computed in the weights' own type.

        That is float32 also where the rest computes in bfloat16, which cannot tell near scores apart; only DeepSpeed
        casts these weights with all others.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            values: torch.Tensor = self.summary(self.dropout(hidden.to(self.summary.weight.dtype)))
        return values.squeeze(-1).float()


def attach(model: Valued, group: ModelGroup) -> None:
    """Give the model a head: the one that lies with the last adapter or else the model, else one of random numbers.

    To be called when it is decided which weights are trained: the head always is. Afterwards
    `model(..., output_hidden_states=True)["value"]` is float32 [batch, sequence]. In training the head drops out a
    tenth of its inputs, as trl's does, unless `summary_dropout_prob` in the model's config.json says otherwise.

    Args:
        model: as `finetune_trainer.model.load` makes it, on any device, also split over ranks by ZeRO-3.
        group: says where model and adapters came from.

    Raises:
        RunError: the head that lies there is of another width.
    """
    text: Any = model.config.get_text_config()
    dropout = getattr(text, "summary_dropout_prob", None)
    width = getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    head = ValueHead(width, 0.1 if dropout is None else dropout)
    source = group.adapter_name_or_path[-1] if group.adapter_name_or_path else group.model_name_or_path
    if source and (weights := stored(source, group)) is not None:
        _fill(head, weights, source)
    model.add_module("v_head", head.to(next(model.parameters()).device).train(model.training))
    model.register_forward_hook(_add_value)


def stored(source: str, group: ModelGroup) -> Weights | None:
    """The head's weights in a folder or at a hub; None if there are none.

    They lie in LLaMA-Factory's files, or in a folder by trl among the model's own.
    """
    if (file := _find(source, FILE, group)) is not None:
        return _read(file)
    if (file := _find(source, _PICKLED, group)) is not None:
        pickled: Weights = torch.load(file, map_location="cpu", weights_only=True)
        return pickled
    file = _among_others(Path(source))
    return (_read(file) or None) if file is not None else None


def load(model: Valued, folder: Path) -> None:
    """Fill the head of a model with the one in a checkpoint.

    Raises:
        RunError: there is none, or one of another width.
    """
    if not (folder / FILE).exists():
        raise RunError(f"{folder} has no {FILE}: it is no checkpoint of a model with a value head")
    head = model.get_submodule("v_head")
    assert isinstance(head, ValueHead)
    _fill(head, _read(folder / FILE), str(folder))


def split(weights: Mapping[str, torch.Tensor]) -> tuple[Weights, Weights]:
    """A model's weights without the head, and the head's: what `save_pretrained` and what `save` write."""
    head = {name: tensor for name, tensor in weights.items() if name.startswith(PREFIX)}
    return {name: tensor for name, tensor in weights.items() if name not in head}, head


def save(weights: Weights, folder: Path) -> None:
    """Write the head beside its model."""
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(here, folder / FILE, metadata={"format": "pt"})


def values_only(model: Valued) -> dict[str, Any]:
    """Arguments for a forward whose logits nobody wants: they are computed for one token where the model can."""
    forward = inspect.signature(adapters.beneath(model).forward).parameters
    few = {"logits_to_keep": 1} if "logits_to_keep" in forward else {}
    return {"output_hidden_states": True, "use_cache": False, **few}


def freeze_output_layer(model: Valued) -> None:
    """What computes logits alone learns nothing from values; left trainable, DDP would wait for its gradients."""
    output = model.get_output_embeddings()
    if output is None:
        return
    embedding = model.get_input_embeddings()
    tied = {id(parameter) for parameter in embedding.parameters()} if embedding is not None else set()
    for parameter in output.parameters():
        if id(parameter) not in tied:
            parameter.requires_grad_(False)


def _add_value(model: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ANN401, ARG001 - as torch calls it
    states = output.get("hidden_states") if isinstance(output, Mapping) else None
    if states is not None:
        output["value"] = model.get_submodule("v_head")(states[-1])


def _fill(head: ValueHead, weights: Weights, source: str) -> None:
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    width, expected = plain["summary.weight"].shape[-1], head.summary.in_features
    if width != expected:
        raise RunError(f"the value head in {source} is {width} wide, the model {expected}: it is another model's")
    head.load_state_dict(plain)


def _find(source: str, name: str, group: ModelGroup) -> Path | None:
    found = cached_file(
        source,
        name,
        cache_dir=group.cache_dir,
        revision=group.model_revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def _among_others(folder: Path) -> Path | None:
    """The model's file that holds the head, when trl saved them together."""
    index = folder / f"{_AMONG_OTHERS}.index.json"
    if index.exists():
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        name = files.get(f"{PREFIX}summary.weight")
        return None if name is None else folder / name
    return folder / _AMONG_OTHERS if (folder / _AMONG_OTHERS).exists() else None


def _read(file: Path) -> Weights:
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys() if name.startswith(PREFIX)}  # noqa: SIM118
