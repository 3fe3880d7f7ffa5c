"""LLaMA-Factory's GeneratingArguments, and the EvaluationArguments of its `eval` command."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int


class GeneratingGroup(Group):
    """How text is generated when chatting, predicting or serving."""

    do_sample: Flag = key(True, "Draw the next token by chance instead of taking the likeliest.")
    temperature: Float = key(0.95, "How even the chances are made.", gt=0)
    top_p: Float = key(0.7, "Draw among the likeliest tokens that have this share together.", gt=0, le=1)
    top_k: Int = key(50, "Draw among this many likeliest tokens; 0 among all.", ge=0)
    num_beams: Int = key(1, "Beams of a beam search.", gt=0)
    max_length: Int = key(1024, "Most tokens of prompt and answer together; counts where max_new_tokens is not said.")
    max_new_tokens: Int = key(1024, "Most tokens of the answer; 0 or -1: max_length counts.", ge=-1)
    repetition_penalty: Float = key(1.0, "How much a token that was there already is held back.", gt=0)
    length_penalty: Float = key(1.0, "How a beam search weighs an answer's length.")
    skip_special_tokens: Flag = key(True, "Leave special tokens out of the text.")


_GONE = (
    "LLaMA-Factory's own benchmarks are gone since 0.9.4; export the model and run lm-evaluation-harness on it: "
    "lm_eval --model hf --model_args pretrained=<folder> --tasks mmlu --num_fewshot 5"
)


class EvaluationGroup(Group):
    """Benchmarks. `seed`, the eighth key of EvaluationArguments, is TrainingArguments' own."""

    task: str | None = key(None, "Benchmark and split, e.g. mmlu_test.", refused=_GONE)
    task_dir: str = key("evaluation", "Folder of the benchmarks.", refused=_GONE)
    batch_size: Int = key(4, "Questions answered together.", refused=_GONE)
    lang: Literal["en", "zh"] = key("en", "Language of the benchmark's prompts.", refused=_GONE)
    n_shot: Int = key(5, "Examples shown before each question.", refused=_GONE)
    save_dir: str | None = key(None, "Folder for the results.", refused=_GONE)
    download_mode: str = key("reuse_dataset_if_exists", "Whether benchmarks are fetched again.", refused=_GONE)
