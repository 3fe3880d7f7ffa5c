"""What the keys about data must not say together."""

from __future__ import annotations

import math

from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig
from finetune_trainer.differences import Faults


def _labels(cfg: TrainConfig) -> Broken:
    data, stage = cfg.data, cfg.finetuning.stage
    if data.mask_history and data.train_on_prompt:
        yield ("mask_history", "train_on_prompt"), "not together with train_on_prompt; keep one of them"
    for name in ("mask_history", "train_on_prompt", "neat_packing"):
        if getattr(data, name) and stage != "sft":
            yield (name, "stage"), f"only in stage sft, not {stage}; leave it out"


def _packing(cfg: TrainConfig) -> Broken:
    data, stage = cfg.data, cfg.finetuning.stage
    if data.neat_packing and data.packing is False:
        yield ("packing", "neat_packing"), "contradicts neat_packing, which is packing too; leave one of them out"
    if data.packing and stage not in ("pt", "sft"):
        yield ("packing", "stage"), f"only in stages pt and sft, not {stage}; leave it out"
    if (data.packing or data.neat_packing) and data.cutoff_len < 2:
        yield ("cutoff_len", "packing"), "packing needs a cutoff_len of 2 or more"


def _held_out(cfg: TrainConfig) -> Broken:
    data = cfg.data
    if data.eval_dataset and data.val_size > 0:
        yield ("val_size", "eval_dataset"), "not together with eval_dataset; keep one of them"
    if data.val_size == 1 or (data.val_size > 1 and not data.val_size.is_integer()):
        yield ("val_size",), f"expected a share below 1, or a whole number of rows above 1, got {data.val_size:g}"
    if data.eval_on_each_dataset and not data.eval_dataset:
        yield ("eval_on_each_dataset", "eval_dataset"), "needs eval_dataset, with the names to evaluate on"


def _something_held_out(cfg: TrainConfig) -> Broken:
    data, training = cfg.data, cfg.training
    wishes = [
        name
        for name, wished in (
            ("do_eval", training.do_eval),
            ("eval_strategy", training.eval_strategy != "no"),
            ("eval_on_start", training.eval_on_start),
        )
        if wished
    ]
    # A tokenized_path may hold rows for evaluation; whether it does is seen when it is opened.
    if wishes and not data.eval_dataset and data.val_size == 0 and not data.tokenized_path:
        yield (wishes[0], "eval_dataset", "val_size"), "there is nothing to evaluate on; set eval_dataset or val_size"


def _mixing(cfg: TrainConfig) -> Broken:
    data = cfg.data
    shares = data.interleave_probs
    if not shares:
        return
    if data.mix_strategy == "concat":
        yield ("interleave_probs", "mix_strategy"), "has no effect with mix_strategy: concat; write interleave_under"
    for name in ("dataset", "eval_dataset"):
        sets = getattr(data, name)
        merged = name == "dataset" or not data.eval_on_each_dataset
        if sets and merged and len(sets) != len(shares):
            yield ("interleave_probs", name), f"expected {len(sets)} shares, one for each {name}, got {len(shares)}"
    if any(share < 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-8):
        yield ("interleave_probs",), f"expected shares that add up to 1, got {', '.join(map(str, shares))}"


def _streaming(cfg: TrainConfig) -> Broken:
    data, training = cfg.data, cfg.training
    if not data.streaming:
        return
    if training.max_steps <= 0:
        yield ("max_steps", "streaming"), "streamed rows have no number, so say when to end: max_steps above 0"
    if 0 < data.val_size < 1:
        yield ("val_size", "streaming"), "expected a number of rows: streamed rows have no number to take a share of"
    if data.max_samples is not None:
        yield ("max_samples", "streaming"), "not together with streaming; max_steps says how much is read"
    if data.tokenized_path:
        yield ("tokenized_path", "streaming"), "not together with streaming, which prepares nothing before"
    if training.group_by_length or training.train_sampling_strategy == "group_by_length":
        keys = ("group_by_length", "train_sampling_strategy", "streaming")
        yield keys, "not together with streaming: the lengths of rows to come are not known"


def _faults(cfg: TrainConfig) -> Broken:
    try:
        Faults.named(cfg.data.llamafactory_faults)
    except ValueError as error:
        yield ("llamafactory_faults",), str(error)


RULES: tuple[Rule, ...] = (
    _labels,
    _packing,
    _held_out,
    _something_held_out,
    _mixing,
    _streaming,
    _faults,
)
