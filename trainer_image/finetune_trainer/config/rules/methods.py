"""What the keys about stages other than sft, their losses, reference and reward models must not say together."""

from __future__ import annotations

from finetune_trainer.config.preference import PreferenceKeys
from finetune_trainer.config.rules.broken import Broken, Rule
from finetune_trainer.config.train_config import TrainConfig

_PPO_KEYS = (
    "ppo_buffer_size",
    "ppo_epochs",
    "ppo_score_norm",
    "ppo_target",
    "ppo_whiten_rewards",
    "reward_model",
    "reward_model_adapters",
    "reward_model_quantization_bit",
    "reward_model_type",
)


def _ppo_keys_elsewhere(cfg: TrainConfig) -> Broken:
    stage = cfg.finetuning.stage
    if stage == "ppo":
        return
    for name in _PPO_KEYS:
        if _said(cfg, name):
            yield (name, "stage"), f"only stage: ppo looks at it, not {stage}; leave it out"


def _reward_model(cfg: TrainConfig) -> Broken:
    said = cfg.finetuning
    if said.stage != "ppo":
        return
    kind, named = said.reward_model_type, said.reward_model
    if not named:
        yield ("reward_model", "stage"), "missing; what scores the answers in stage: ppo, an adapter, model or server"
    elif kind == "api" and not named.startswith(("http://", "https://")):
        yield ("reward_model", "reward_model_type"), "with reward_model_type: api, a URL: http://host:port/path"
    elif kind != "api" and named.startswith(("http://", "https://")):
        yield ("reward_model", "reward_model_type"), "a URL goes with reward_model_type: api"
    if kind == "lora" and said.finetuning_type != "lora":
        keys = ("reward_model_type", "finetuning_type")
        yield keys, f"lora needs finetuning_type: lora, not {said.finetuning_type}; write full or api instead"
    if kind != "full":
        for name in ("reward_model_adapters", "reward_model_quantization_bit"):
            if getattr(said, name):
                yield (name, "reward_model_type"), f"only with reward_model_type: full, not {kind}"


def _ppo_generates(cfg: TrainConfig) -> Broken:
    if cfg.finetuning.stage != "ppo":
        return
    keys, said = cfg.generating, cfg.generating.model_fields_set
    if keys.num_beams > 1:
        yield ("num_beams", "stage"), "stage: ppo learns from answers that are drawn, not searched; leave it out"
    for name in ("length_penalty", "skip_special_tokens"):
        if name in said:
            yield (name, "stage"), "has no effect in stage: ppo; leave it out"
    for name in ("temperature", "top_p", "top_k"):
        if name in said and not keys.do_sample:
            yield (name, "do_sample"), "has no effect with do_sample: false; leave one of them out"
    if {"max_length", "max_new_tokens"} <= said and keys.max_new_tokens > 0:
        yield ("max_length", "max_new_tokens"), "has no effect beside max_new_tokens; leave one of them out"


def _ppo_trains(cfg: TrainConfig) -> Broken:
    if cfg.finetuning.stage != "ppo":
        return
    training = cfg.training
    if not training.do_train:
        yield ("do_train", "stage"), "stage: ppo trains and nothing else; write do_train: true"
    if training.eval_strategy != "no" or training.do_eval:
        keys = ("eval_strategy" if training.eval_strategy != "no" else "do_eval", "stage")
        yield keys, "stage: ppo does not evaluate; each logged step tells the mean reward of fresh answers"
    if training.load_best_model_at_end:
        yield ("load_best_model_at_end", "stage"), "stage: ppo does not evaluate, so no checkpoint is the best"


_PAIR_KEYS = ("pref_loss", "pref_bco_weight", "dpo_label_smoothing", "simpo_gamma", "ld_alpha")


def _pair_keys_elsewhere(cfg: TrainConfig) -> Broken:
    """kto also looks at pref_beta and pref_ftx."""
    stage = cfg.finetuning.stage
    for name in (*_PAIR_KEYS, "pref_beta", "pref_ftx"):
        stages = ("dpo",) if name in _PAIR_KEYS else ("dpo", "kto")
        if stage not in stages and _said(cfg, name):
            yield (name, "stage"), f"only stage: {' and '.join(stages)} looks at it, not {stage}; leave it out"


def _pair_loss(cfg: TrainConfig) -> Broken:
    loss = cfg.finetuning.pref_loss
    if cfg.finetuning.stage != "dpo":
        return
    if _said(cfg, "dpo_label_smoothing") and loss != "sigmoid":
        yield ("dpo_label_smoothing", "pref_loss"), f"only with pref_loss: sigmoid, not {loss}; leave it out"
    if _said(cfg, "simpo_gamma") and loss != "simpo":
        yield ("simpo_gamma", "pref_loss"), f"only with pref_loss: simpo, not {loss}; leave it out"
    if _said(cfg, "pref_bco_weight") and loss in ("orpo", "simpo"):
        keys = ("pref_bco_weight", "pref_loss")
        yield (
            keys,
            f"measures rewards against a reference, and {loss} has none; leave it out, or take another pref_loss",
        )


def _reference_model(cfg: TrainConfig) -> Broken:
    said = cfg.finetuning
    looks = said.stage in ("dpo", "kto", "ppo") or said.use_asft_loss
    for name in ("ref_model", "ref_model_adapters", "ref_model_quantization_bit"):
        if not _said(cfg, name):
            continue
        if not looks:
            message = f"only stages dpo, kto, ppo and use_asft_loss look at it, not {said.stage}; leave it out"
            yield (name, "stage"), message
        elif said.stage == "dpo" and said.pref_loss in ("orpo", "simpo"):
            yield (name, "pref_loss"), f"{said.pref_loss} needs no reference model; leave it out"
        elif not said.ref_model:
            yield (name, "ref_model"), "needs ref_model; name the base model there"


def _no_dropout(cfg: TrainConfig) -> Broken:
    stage = cfg.finetuning.stage
    if stage in ("dpo", "kto") and cfg.finetuning.lora_dropout:
        message = (
            f"stage: {stage} trains without dropout, so that chance does not change what is compared with the "
            "reference (LLaMA-Factory turns it off without a word); leave it out"
        )
        yield ("lora_dropout", "stage"), message


def _verdict_keys_elsewhere(cfg: TrainConfig) -> Broken:
    stage = cfg.finetuning.stage
    for name in ("kto_chosen_weight", "kto_rejected_weight"):
        if stage != "kto" and _said(cfg, name):
            yield (name, "stage"), f"only stage: kto looks at it, not {stage}; leave it out"


def _no_scores_of_single_pairs(cfg: TrainConfig) -> Broken:
    if cfg.finetuning.stage == "rm" and cfg.training.do_predict:
        message = "stage: rm writes no scores of single pairs; do_eval: true tells eval_accuracy and eval_margin"
        yield ("do_predict", "stage"), message


def _said(cfg: TrainConfig, name: str) -> bool:
    """Whether one of the keys of this room has another value than its default."""
    return bool(getattr(cfg.finetuning, name) != PreferenceKeys.model_fields[name].default)


RULES: tuple[Rule, ...] = (
    _pair_keys_elsewhere,
    _pair_loss,
    _reference_model,
    _no_dropout,
    _verdict_keys_elsewhere,
    _no_scores_of_single_pairs,
    _ppo_keys_elsewhere,
    _reward_model,
    _ppo_generates,
    _ppo_trains,
)
