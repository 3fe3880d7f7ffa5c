"""LLaMA-Factory's GeneratingArguments, and the EvaluationArguments of its `eval` command."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int


class GeneratingGroup(Group):
    """How text is generated when chatting, predicting or serving."""

    do_sample: Flag = key(True, "Draw the next token by chance instead of taking the likeliest.", built=False)
    temperature: Float = key(0.95, "How even the chances are made.", built=False)
    top_p: Float = key(0.7, "Draw among the likeliest tokens that have this share together.", built=False)
    top_k: Int = key(50, "Draw among this many likeliest tokens.", built=False)
    num_beams: Int = key(1, "Beams of a beam search.", built=False)
    max_length: Int = key(1024, "Most tokens of prompt and answer together.", built=False)
    max_new_tokens: Int = key(1024, "Most tokens of the answer.", built=False)
    repetition_penalty: Float = key(1.0, "How much a token that was there already is held back.", built=False)
    length_penalty: Float = key(1.0, "How a beam search weighs an answer's length.", built=False)
    skip_special_tokens: Flag = key(True, "Leave special tokens out of the text.", built=False)


class EvaluationGroup(Group):
    """Benchmarks. `seed`, the eighth key of EvaluationArguments, is TrainingArguments' own."""

    task: str | None = key(None, "Benchmark and split, e.g. mmlu_test.", built=False)
    task_dir: str = key("evaluation", "Folder of the benchmarks.", built=False)
    batch_size: Int = key(4, "Questions answered together.", built=False)
    lang: Literal["en", "zh"] = key("en", "Language of the benchmark's prompts.", built=False)
    n_shot: Int = key(5, "Examples shown before each question.", built=False)
    save_dir: str | None = key(None, "Folder for the results.", built=False)
    download_mode: str = key("reuse_dataset_if_exists", "Whether benchmarks are fetched again.", built=False)
