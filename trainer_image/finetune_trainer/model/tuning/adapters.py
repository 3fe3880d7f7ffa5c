"""Adapters that were trained before: merged into the base, trained on, or followed by a fresh one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig, PeftModel
from transformers import PreTrainedModel

from finetune_trainer.config import TrainConfig
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.config.model import ModelGroup
from finetune_trainer.failures import ModelNotFound, RunError
from finetune_trainer.model.sources import named
from finetune_trainer.model.tuning import fresh

_KEY = "adapter_name_or_path"


def attach(
    cfg: TrainConfig, model: PreTrainedModel, *, new_tokens: bool, sharded: bool
) -> PreTrainedModel | PeftModel:
    """All given adapters but the last are merged, the last is trained on; create_new_adapter merges all of them.

    Raises:
        RunError: weights that are quantised or split over ranks carry one adapter and take none in.
        ModelNotFound: an adapter is not there.
    """
    given = cfg.model.adapter_name_or_path
    begins = cfg.finetuning.create_new_adapter or not given
    merged = given if begins else given[:-1]
    if merged and (sharded or getattr(model, "quantization_method", None) is not None):
        what = "ZeRO-3 splits the base model over the ranks" if sharded else "the base model is quantised"
        raise RunError(f"{_KEY}: {what}, so nothing can be merged into it; merge with `finetune export` before")
    for adapter in merged:
        model = merge(model, adapter, cfg.model)
    if begins:
        return fresh.begin(cfg, model, new_tokens=new_tokens)
    return _go_on(cfg, model, given[-1])


def beneath(model: Any) -> Any:  # noqa: ANN401 - any model, also one whose code came along
    """What an adapter was put over; the model itself where there is none."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def merge(model: PreTrainedModel, adapter: str, group: ModelGroup, *, key: str = _KEY) -> PreTrainedModel:
    """The base with the adapter's change added to its weights.

    Raises:
        RunError: the adapter does not fit the model.
        ModelNotFound: there is none.
    """
    merged: PreTrainedModel = over(model, adapter, group, key=key).merge_and_unload()
    return merged


def over(
    model: PreTrainedModel, adapter: str, group: ModelGroup, *, key: str = _KEY, trainable: bool = False
) -> PeftModel:
    """The base under the adapter, whatever type of adapter it is.

    Raises:
        RunError: the adapter does not fit the model.
        ModelNotFound: there is none.
    """
    with named(adapter, key) as source, _fitting(source, key):
        _check_kept(source, group, key)
        return PeftModel.from_pretrained(model, source, is_trainable=trainable, **_place(group))


def _go_on(cfg: TrainConfig, model: PreTrainedModel, adapter: str) -> PeftModel:
    trained = over(model, adapter, cfg.model, trainable=True)
    _check_said(cfg.finetuning, trained.peft_config["default"], adapter)
    return trained


def _place(group: ModelGroup) -> dict[str, Any]:
    """Where peft looks. model_revision is the base model's, whose branches an adapter's repository has not."""
    return {"subfolder": group.adapter_folder, "cache_dir": group.cache_dir}


@contextmanager
def _fitting(source: str, key: str) -> Iterator[None]:
    try:
        yield
    except (ModelNotFound, RunError):
        raise
    except ValueError as error:
        if "Can't find" in str(error):
            raise ModelNotFound(f"{key}: there is no adapter in {source} (adapter_config.json is missing)") from error
        raise RunError(f"{key}: {source} does not fit this model: {error}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise RunError(
            f"{key}: {source} does not fit this model: {_mismatch(error)}. If it was trained with new tokens, say "
            "add_tokens, add_special_tokens, new_special_tokens_config or resize_vocab as then"
        ) from error


def _mismatch(error: Exception) -> str:
    return next(line.strip() for line in str(error).splitlines() if "size mismatch" in line).rstrip(".")


def _check_kept(source: str, group: ModelGroup, key: str) -> None:
    kept = getattr(PeftConfig.from_pretrained(source, **_place(group)), "init_lora_weights", True)
    if str(kept).startswith("pissa_niter"):
        raise RunError(
            f"{key}: {source} holds a PiSSA adapter that goes with a base which was drawn by chance and not saved; "
            "take the plain adapter in pissa_converted, beside it"
        )


_OF_LORA = {
    "lora_rank": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}


def _check_said(finetuning: FinetuningGroup, config: Any, adapter: str) -> None:  # noqa: ANN401 - peft's, of any type
    """An adapter brings its own shape; keys that say another one would have no effect.

    Raises:
        RunError: they do.
    """
    for key, field in _OF_LORA.items():
        wanted, kept = getattr(finetuning, key), getattr(config, field, None)
        if key in finetuning.model_fields_set and wanted is not None and kept is not None and wanted != kept:
            raise RunError(
                f"{key}: {wanted}, but the adapter in {adapter} was begun with {kept}; leave it out, or begin a new "
                "adapter over it with create_new_adapter: true"
            )
