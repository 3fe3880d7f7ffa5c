"""LLaMA-Factory's RLHFArguments: learning from preferences and from rewards."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names


class PreferenceKeys(Group):
    """RLHFArguments."""

    pref_beta: Float = key(
        0.1,
        "How strongly the model is held near the reference in dpo and kto; weight of the odds ratio in orpo.",
        gt=0,
    )
    pref_ftx: Float = key(0.0, "Weight of the plain loss on chosen answers, added to the loss on pairs.", ge=0)
    pref_bco_weight: Float = key(
        0.0, "Weight of the loss of a classifier of answers (BCO) against the loss on pairs, which weighs 1.", ge=0
    )
    pref_loss: Literal["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"] = key(
        "sigmoid", "Loss on pairs of answers; orpo and simpo need no reference model."
    )
    dpo_label_smoothing: Float = key(
        0.0, "Share of pairs taken to be the wrong way round, with pref_loss sigmoid.", ge=0, lt=0.5
    )
    kto_chosen_weight: Float = key(1.0, "Weight of liked answers in KTO.", ge=0)
    kto_rejected_weight: Float = key(1.0, "Weight of disliked answers in KTO.", ge=0)
    simpo_gamma: Float = key(0.5, "Margin that SimPO aims at.", ge=0)
    ppo_buffer_size: Int = key(1, "Global batches of answers that are generated together for each PPO step.", gt=0)
    ppo_epochs: Int = key(4, "Passes over the answers of each PPO step.", gt=0)
    ppo_score_norm: Flag = key(False, "Normalise PPO's scores by the mean and deviation of all so far.")
    ppo_target: Float = key(
        6.0, "Divergence from the reference, summed over an answer, that PPO's adaptive penalty aims at.", ge=0
    )
    ppo_whiten_rewards: Flag = key(False, "Whiten PPO's rewards before advantages are computed.")
    ref_model: str | None = key(
        None, "Reference model, by hub id or folder; unsaid, the base model, even where a given adapter is trained on."
    )
    ref_model_adapters: Names = key((), "Adapters merged into the reference model, by hub id or folder.")
    ref_model_quantization_bit: Int | None = key(None, "Bits of a quantised reference model.")
    reward_model: str | None = key(
        None, "PPO's reward model: an adapter (lora) or model (full) with a value head, or a server's address (api)."
    )
    reward_model_adapters: Names = key(
        (), "Adapters merged into a reward model of its own; the head is the last one's."
    )
    reward_model_quantization_bit: Int | None = key(None, "Bits of a quantised reward model of its own.")
    reward_model_type: Literal["lora", "full", "api"] = key(
        "lora", "Whether the reward model is an adapter of the trained model's base, a model of its own, or a server."
    )
    ld_alpha: Float | None = key(
        None, "Weight of the tokens by which one answer is longer than the other (LD-DPO); 1 is plain.", ge=0, le=1
    )
