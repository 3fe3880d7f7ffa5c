"""`export_quantization_bit`: the model in GPTQ's form, calibrated on texts.

Source: LLaMA-Factory model/model_utils/quantization.py.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from finetune_trainer.config import TrainConfig
from finetune_trainer.failures import RunError
from finetune_trainer.model.precision import DTYPE_ARGUMENT
from finetune_trainer.model.sources import hub_arguments, named

_PACKAGES = ("gptqmodel", "optimum")
_GROUP = 128
_READERS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet", "txt": "text", "arrow": "arrow"}


def quantised(cfg: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Load the model and quantise it, in float16.

    Raises:
        RunError: a package is not installed, or the calibrating texts cannot be used.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise RunError(
            f"export_quantization_bit: GPTQ needs the packages {' and '.join(_PACKAGES)}; not installed here: "
            f"{', '.join(missing)}. pip install {' '.join(missing)}, or export without it and load the result with "
            "quantization_bit"
        )
    from transformers import GPTQConfig

    group = cfg.model
    settings: Any = GPTQConfig(
        bits=group.export_quantization_bit or 4,
        tokenizer=tokenizer,
        group_size=_GROUP,
        dataset=windows(  # type: ignore[arg-type] # optimum takes tokens too
            texts(cfg), tokenizer, group.export_quantization_nsamples, group.export_quantization_maxlen
        ),
    )
    arguments: dict[str, Any] = {DTYPE_ARGUMENT: torch.float16, "device_map": "auto", "quantization_config": settings}
    with named(group.model_name_or_path, "model_name_or_path") as source:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(source, **arguments, **hub_arguments(group))
    return model


def windows(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, count: int, length: int
) -> list[dict[str, list[list[int]]]]:
    """So many stretches of exactly `length` tokens, each drawn out of a longer text that is drawn too.

    Raises:
        RunError: no text is longer.
    """
    draw = random.Random(0)  # noqa: S311 - which texts calibrate is no secret
    rows = [ids for text in texts if len(ids := list(tokenizer(text)["input_ids"])) > length]
    if not rows:
        raise RunError(
            f"export_quantization_maxlen: no text of export_quantization_dataset has more than {length} tokens; "
            "write less"
        )
    found = []
    for _ in range(count):
        ids = draw.choice(rows)
        start = draw.randrange(len(ids) - length)
        found.append({"input_ids": [ids[start : start + length]], "attention_mask": [[1] * length]})
    return found


def texts(cfg: TrainConfig) -> list[str]:
    """The texts of export_quantization_dataset: a file, or a data set at the hub.

    Raises:
        RunError: it cannot be read, or has no column `text`.
    """
    from datasets import load_dataset

    named_so = cfg.model.export_quantization_dataset or ""
    path = Path(named_so)
    try:
        if path.is_file():
            reader = _READERS.get(path.suffix.lstrip("."), "text")
            rows: Any = load_dataset(reader, data_files=named_so, split="train", cache_dir=cfg.model.cache_dir)
        else:
            rows = load_dataset(named_so, split="train", cache_dir=cfg.model.cache_dir)
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise RunError(f"export_quantization_dataset: {named_so} cannot be read: {first}") from error
    return [_text(row, named_so) for row in rows]


def _text(row: Mapping[str, Any], source: str) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise RunError(f"export_quantization_dataset: rows of {source} have no column text; it has {', '.join(row)}")
    return text
