"""What the keys about evaluating, predicting, generating and the losses of sft must not say together."""

from __future__ import annotations

from finetune_trainer.config import zero
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig

GENERATING = (
    "do_sample", "temperature", "top_p", "top_k", "num_beams", "max_length", "max_new_tokens", "repetition_penalty",
    "length_penalty", "skip_special_tokens",
)  # fmt: skip
"""The keys of GeneratingArguments."""
UNUSED = "has no effect: this run generates nothing; set predict_with_generate and do_predict, or leave it out"
SAMPLING = ("temperature", "top_p", "top_k")
TOKEN_LOSSES = ("use_dft_loss", "use_asft_loss", "use_eaft_loss", "label_smoothing_factor")


def _something_to_do(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if not (training.do_train or training.do_eval or training.do_predict):
        yield ("do_train",), "there is nothing to do; write do_train: true, do_eval: true or do_predict: true"
    if training.do_train:
        return
    for name in ("eval_strategy", "eval_on_start", "load_best_model_at_end"):
        if getattr(training, name) not in (False, "no"):
            yield (name, "do_train"), "has no effect without training; write do_eval: true instead"
    if training.deepspeed and not _is_zero3(cfg):
        yield ("deepspeed", "do_train"), "does nothing without training unless it is ZeRO-3; leave it out"


def _token_losses(cfg: TrainConfig) -> Broken:
    finetuning, stage = cfg.finetuning, cfg.finetuning.stage
    chosen = [name for name in TOKEN_LOSSES[:3] if getattr(finetuning, name)]
    if cfg.training.label_smoothing_factor:
        chosen.append("label_smoothing_factor")
    for name in chosen[1:]:
        yield (name, chosen[0]), f"not together with {chosen[0]}; keep one of them"
    for name in chosen:
        stages = ("pt", "sft") if name == "label_smoothing_factor" else ("sft",)
        instead = "dpo_label_smoothing" if stage == "dpo" and len(stages) == 2 else "leave it out"
        if stage not in stages:
            yield (name, "stage"), f"only in stage {' or '.join(stages)}, not {stage}; {instead}"
    for name, needs in (("asft_alpha", "use_asft_loss"), ("eaft_alpha", "use_eaft_loss")):
        if name in finetuning.model_fields_set and not getattr(finetuning, needs):
            yield (name, needs), f"has no effect without {needs}: true"


def _accuracy(cfg: TrainConfig) -> Broken:
    if not cfg.finetuning.compute_accuracy:
        return
    if cfg.finetuning.stage != "sft":
        yield ("compute_accuracy", "stage"), f"only in stage sft, not {cfg.finetuning.stage}; leave it out"
    if cfg.training.predict_with_generate:
        keys = ("compute_accuracy", "predict_with_generate")
        yield keys, "not together with predict_with_generate, which computes no loss; keep one of them"
    if cfg.training.prediction_loss_only:
        yield ("compute_accuracy", "prediction_loss_only"), "contradicts prediction_loss_only; keep one of them"
    if not (cfg.training.do_eval or _evaluates(cfg)):
        yield (
            ("compute_accuracy", "eval_strategy"),
            "has no effect: nothing is evaluated; set eval_strategy or do_eval",
        )


def _predicting(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if training.do_predict and "do_train" not in training.model_fields_set:
        yield ("do_predict", "do_train"), "say do_train beside it: true trains first, false predicts alone"
    if training.do_predict and not training.predict_with_generate and cfg.finetuning.stage != "rm":  # rm says why
        yield ("do_predict", "predict_with_generate"), "predicting is generating; write predict_with_generate: true"
    if not training.predict_with_generate:
        return
    if cfg.finetuning.stage != "sft":
        keys = ("predict_with_generate", "stage")
        yield keys, f"only in stage sft, not {cfg.finetuning.stage}; leave it out"
    if not (training.do_predict or training.do_eval or _evaluates(cfg)):
        keys = ("predict_with_generate", "do_predict")
        yield keys, "has no effect: set do_predict, do_eval or eval_strategy"


def _predicting_with(cfg: TrainConfig) -> Broken:
    training, data = cfg.training, cfg.data
    if not training.predict_with_generate:
        return
    apart = "predict in a run of its own: do_train: false, do_predict: true, without it"
    if _is_zero3(cfg):
        yield ("predict_with_generate", "deepspeed"), f"not with ZeRO-3, which splits the model over ranks; {apart}"
    if training.fsdp:
        yield ("predict_with_generate", "fsdp"), f"not with FSDP, which splits the model over ranks; {apart}"
    if training.prediction_loss_only:
        yield ("prediction_loss_only", "predict_with_generate"), "contradicts predict_with_generate; leave it out"
    if not data.eval_dataset and data.val_size == 0 and not data.tokenized_path:
        yield (
            ("predict_with_generate", "eval_dataset", "val_size"),
            "there is nothing to predict; set eval_dataset or val_size",
        )
    if data.tokenized_path:
        keys = ("tokenized_path", "predict_with_generate")
        yield keys, "not with predict_with_generate, which prepares rows otherwise; predict in a run without it"
    if data.streaming and data.val_size:
        told = "not with streaming and predict_with_generate; name the rows to predict by eval_dataset"
        yield ("val_size", "streaming", "predict_with_generate"), told


def _generating(cfg: TrainConfig) -> Broken:
    training, generating = cfg.training, cfg.generating
    said = generating.model_fields_set
    if not training.predict_with_generate:
        if cfg.finetuning.stage != "ppo":
            for name in GENERATING:
                if name in said:
                    yield (name, "predict_with_generate"), UNUSED
        for name in ("generation_max_length", "generation_num_beams", "eval_num_beams"):
            if name in training.model_fields_set | cfg.data.model_fields_set:
                yield (name, "predict_with_generate"), UNUSED
        return
    yield from _lengths(cfg)
    yield from _beams(cfg)
    if not generating.do_sample:
        for name in SAMPLING:
            if name in said:
                yield (name, "do_sample"), "has no effect with do_sample: false; leave one of them out"


def _lengths(cfg: TrainConfig) -> Broken:
    said = cfg.generating.model_fields_set
    counts = "max_new_tokens" in said and cfg.generating.max_new_tokens > 0
    for name in ("max_length", "generation_max_length"):
        whole = cfg.generating.max_length if name == "max_length" else cfg.training.generation_max_length
        written = name in said or (name == "generation_max_length" and whole is not None)
        if written and counts:
            yield (name, "max_new_tokens"), "has no effect beside max_new_tokens; keep one of them"
    if "max_length" in said and cfg.training.generation_max_length is not None:
        yield ("generation_max_length", "max_length"), "the same as max_length; keep one of them"


def _beams(cfg: TrainConfig) -> Broken:
    beams = {
        "eval_num_beams": cfg.data.eval_num_beams,
        "generation_num_beams": cfg.training.generation_num_beams,
        "num_beams": cfg.generating.num_beams if "num_beams" in cfg.generating.model_fields_set else None,
    }
    told = {name: number for name, number in beams.items() if number is not None}
    first = next(iter(told), "")
    for name, number in told.items():
        if number != told[first]:
            yield (name, first), f"contradicts {first}: {told[first]}; keep one of them"
    if "length_penalty" in cfg.generating.model_fields_set and max([1, *told.values()]) == 1:
        yield ("length_penalty", "num_beams"), "weighs beams, and there is one; set num_beams or leave it out"


def _best(cfg: TrainConfig) -> Broken:
    training, patience = cfg.training, cfg.finetuning.early_stopping_steps
    wishes = [
        name
        for name, wished in (
            ("load_best_model_at_end", training.load_best_model_at_end),
            ("save_strategy", training.save_strategy == "best"),
            ("early_stopping_steps", patience is not None),
            ("metric_for_best_model", training.metric_for_best_model is not None),
            ("greater_is_better", training.greater_is_better is not None),
        )
        if wished
    ]
    if not wishes or not training.do_train:
        return
    if training.eval_strategy == "no":
        yield (wishes[0], "eval_strategy"), "goes by evaluations; set eval_strategy: steps or epoch"
        return
    if wishes[0] in ("metric_for_best_model", "greater_is_better"):
        keys = (wishes[0], "load_best_model_at_end")
        if training.lr_scheduler_type not in ("reduce_lr_on_plateau", "greedy"):
            yield keys, "has no effect without load_best_model_at_end, save_strategy: best or early_stopping_steps"
    yield from _metric(cfg, wishes[0])
    yield from _saved_when_evaluated(cfg)


def _metric(cfg: TrainConfig, wish: str) -> Broken:
    training, metric = cfg.training, cfg.training.metric_for_best_model
    if metric is None and wish != "load_best_model_at_end":
        yield (wish, "metric_for_best_model"), "needs metric_for_best_model, e.g. eval_loss"
    elif (metric or "loss").removeprefix("eval_") != "loss":
        return
    elif training.predict_with_generate:
        keys = ("metric_for_best_model", "predict_with_generate")
        yield keys, "predict_with_generate computes no loss; write metric_for_best_model: eval_rouge-l, or eval_bleu-4"
    elif cfg.data.eval_on_each_dataset:
        keys = ("metric_for_best_model", "eval_on_each_dataset")
        names = " or ".join(f"eval_{name}_loss" for name in cfg.data.eval_dataset)
        yield keys, f"each data set has a loss of its own; write metric_for_best_model: {names}"


def _saved_when_evaluated(cfg: TrainConfig) -> Broken:
    training = cfg.training
    if not training.load_best_model_at_end or training.save_strategy == "best":
        return
    if training.save_strategy != training.eval_strategy:
        keys = ("load_best_model_at_end", "save_strategy", "eval_strategy")
        yield keys, f"needs save_strategy: {training.eval_strategy}, as eval_strategy says, or save_strategy: best"
        return
    every = training.logging_steps if training.eval_steps is None else training.eval_steps
    if training.eval_strategy == "steps" and every != training.save_steps:
        keys = ("load_best_model_at_end", "eval_steps", "save_steps")
        yield (
            keys,
            (
                f"evaluated every {every:g} steps and saved every {training.save_steps:g}, the best may not be there; "
                f"write eval_steps: {training.save_steps:g}, or save_strategy: best"
            ),
        )


def _is_zero3(cfg: TrainConfig) -> bool:
    try:
        return zero.stage(cfg.training.deepspeed) == 3
    except ValueError:  # told by another rule
        return False


def _evaluates(cfg: TrainConfig) -> bool:
    return cfg.training.eval_strategy != "no" or cfg.training.eval_on_start


RULES: tuple[Rule, ...] = (
    _something_to_do,
    _token_losses,
    _accuracy,
    _predicting,
    _predicting_with,
    _generating,
    _best,
)
