"""Evaluating, predicting, generating, and sft's losses: what is refused, and that nothing beside it is."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.hf import to_training_arguments
from finetune_trainer.config.train_config import FIELDS

DEV = {"eval_dataset": "dev", "eval_strategy": "steps"}
PREDICT = {"do_train": True, "do_predict": True, "predict_with_generate": True, "eval_dataset": "dev"}
BEST = {**DEV, "load_best_model_at_end": True, "eval_steps": 10, "save_steps": 10}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"do_train": False}, "do_train", "write do_train: true, do_eval: true or do_predict: true"),
    ({"do_train": False, "do_eval": True, **DEV}, "eval_strategy", "write do_eval: true instead"),
    ({"do_train": False, "do_eval": True, "eval_dataset": "dev", "deepspeed": "zero2"}, "deepspeed", "leave it out"),
    ({"use_dft_loss": True, "use_eaft_loss": True}, "use_eaft_loss", "not together with use_dft_loss"),
    ({"use_asft_loss": True, "label_smoothing_factor": 0.1}, "label_smoothing_factor", "keep one of them"),
    ({"use_dft_loss": True, "stage": "pt"}, "use_dft_loss", "only in stage sft, not pt"),
    ({"label_smoothing_factor": 0.1, "stage": "dpo"}, "label_smoothing_factor", "dpo_label_smoothing"),
    ({"asft_alpha": 0.2}, "asft_alpha", "has no effect without use_asft_loss: true"),
    ({"eaft_alpha": 0.2}, "eaft_alpha", "has no effect without use_eaft_loss: true"),
    ({"compute_accuracy": True, **DEV, "stage": "pt"}, "compute_accuracy", "only in stage sft"),
    ({"compute_accuracy": True}, "compute_accuracy", "nothing is evaluated"),
    ({"compute_accuracy": True, **DEV, "prediction_loss_only": True}, "compute_accuracy", "contradicts"),
    ({"compute_accuracy": True, **PREDICT, **DEV}, "compute_accuracy", "which computes no loss"),
    ({"do_predict": True, "eval_dataset": "dev"}, "do_predict", "write predict_with_generate: true"),
    ({"predict_with_generate": True, "eval_dataset": "dev"}, "predict_with_generate", "has no effect"),
    ({**PREDICT, "stage": "rm"}, "predict_with_generate", "only in stage sft"),
    ({**PREDICT, "deepspeed": "zero3"}, "predict_with_generate", "predict in a run of its own: do_train: false"),
    ({**PREDICT, "eval_dataset": None}, "predict_with_generate", "set eval_dataset or val_size"),
    ({**PREDICT, "prediction_loss_only": True}, "prediction_loss_only", "contradicts predict_with_generate"),
    ({**PREDICT, "tokenized_path": "kept"}, "tokenized_path", "not with predict_with_generate"),
    ({"temperature": 0.5}, "temperature", "this run generates nothing"),
    ({"generation_max_length": 99}, "generation_max_length", "this run generates nothing"),
    ({"eval_num_beams": 2}, "eval_num_beams", "this run generates nothing"),
    ({**PREDICT, "max_length": 99, "max_new_tokens": 9}, "max_length", "beside max_new_tokens"),
    ({**PREDICT, "generation_max_length": 99, "max_new_tokens": 9}, "generation_max_length", "beside max_new_tokens"),
    ({**PREDICT, "generation_max_length": 99, "max_length": 9}, "generation_max_length", "the same as max_length"),
    ({**PREDICT, "num_beams": 2, "eval_num_beams": 3}, "num_beams", "contradicts eval_num_beams: 3"),
    ({**PREDICT, "length_penalty": 2.0}, "length_penalty", "weighs beams"),
    ({**PREDICT, "do_sample": False, "top_p": 0.5}, "top_p", "no effect with do_sample: false"),
    ({"load_best_model_at_end": True}, "load_best_model_at_end", "set eval_strategy"),
    ({"early_stopping_steps": 2}, "early_stopping_steps", "set eval_strategy"),
    ({**DEV, "early_stopping_steps": 2}, "early_stopping_steps", "needs metric_for_best_model, e.g. eval_loss"),
    ({**DEV, "save_strategy": "best"}, "save_strategy", "needs metric_for_best_model"),
    ({**DEV, "metric_for_best_model": "eval_loss"}, "metric_for_best_model", "no effect without load_best_model"),
    ({**BEST, "save_strategy": "epoch"}, "load_best_model_at_end", "needs save_strategy: steps"),
    ({**BEST, "eval_steps": 5}, "load_best_model_at_end", "write eval_steps: 10, or save_strategy: best"),
    ({**BEST, "eval_on_each_dataset": True}, "metric_for_best_model", "eval_dev_loss"),
    ({**BEST, "predict_with_generate": True}, "metric_for_best_model", "eval_rouge-l"),
]


@pytest.mark.parametrize(("mapping", "key", "told"), REFUSED, ids=[f"{key}-{told}" for _, key, told in REFUSED])
def test_refused(mapping: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    said = {one.path: one.message for one in refused.value.violations}
    assert told in said[f"spec.training.{key}"]
    assert len(said) == 1 or mapping.get("stage") in ("dpo", "rm"), said


KEPT: list[dict[str, Any]] = [
    {"do_train": False, "do_eval": True, "eval_dataset": "dev"},
    {"do_train": False, "do_eval": True, "eval_dataset": "dev", "deepspeed": "zero3"},
    {"do_train": False, **PREDICT, "max_new_tokens": 64, "temperature": 0.1},
    {**PREDICT, "do_sample": False, "eval_num_beams": 4, "length_penalty": 0.5},
    {**PREDICT, "eval_num_beams": 4, "num_beams": 4},
    {**BEST, "compute_accuracy": True, "metric_for_best_model": "eval_accuracy", "early_stopping_steps": 3},
    {**DEV, "save_strategy": "best", "metric_for_best_model": "loss", "load_best_model_at_end": True},
    {**BEST, "predict_with_generate": True, "metric_for_best_model": "eval_bleu-4"},
    {"stage": "pt", "label_smoothing_factor": 0.1},
]


@pytest.mark.parametrize("mapping", KEPT, ids=str)
def test_kept(mapping: dict[str, Any]) -> None:
    parse(mapping)


@pytest.mark.shows("task", "task_dir", "batch_size", "lang", "n_shot", "save_dir", "download_mode")
def test_llamafactorys_benchmarks_are_refused_by_name() -> None:
    asked = {"task": "mmlu_test", "task_dir": "here", "batch_size": 2, "lang": "zh", "n_shot": 3, "save_dir": "there"}
    with pytest.raises(ConfigInvalid) as refused:
        parse({**asked, "download_mode": "force_redownload"})
    assert len(refused.value.violations) == 7
    assert all("run lm-evaluation-harness on it: lm_eval --model hf" in str(one) for one in refused.value.violations)


USELESS: list[tuple[str, object, str]] = [
    ("eval_accumulation_steps", 4, "never gathered"),
    ("eval_do_concat_batches", False, "never joined"),
    ("eval_use_gather_object", True, "sums and counts"),
    ("include_for_metrics", "inputs", "no code of yours"),
    ("include_inputs_for_metrics", True, "no code of yours"),
    ("label_names", "targets", "or write labels"),
    ("use_legacy_prediction_loop", True, "every row once"),
    ("sortish_sampler", True, "write group_by_length: true"),
    ("generation_config", "some/folder", "write the settings themselves"),
]


@pytest.mark.shows(*(name for name, _, _ in USELESS))
@pytest.mark.parametrize(("key", "value", "told"), USELESS)
def test_what_evaluation_has_no_use_for(key: str, value: object, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse({key: value})
    (violation,) = refused.value.violations
    assert told in violation.message


def test_labels_may_be_called_labels() -> None:
    parse({"label_names": "labels"})


@pytest.mark.shows("greater_is_better")
def test_a_low_perplexity_is_better() -> None:
    def better(**said: Any) -> object:
        cfg, accepted = parse({**BEST, **said}), frozenset(FIELDS)
        return to_training_arguments(cfg, accepted=accepted)["greater_is_better"]

    assert better(metric_for_best_model="eval_perplexity") is False
    assert better(metric_for_best_model="eval_perplexity", greater_is_better=True) is True
    assert better(metric_for_best_model="eval_accuracy") is None  # transformers' own: higher, unless it is a loss
