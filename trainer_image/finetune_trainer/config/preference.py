"""LLaMA-Factory's RLHFArguments: learning from preferences and from rewards."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int


class PreferenceKeys(Group):
    """RLHFArguments."""

    pref_beta: Float = key(0.1, "How strongly the model is held near the reference.", built=False)
    pref_ftx: Float = key(0.0, "Weight of the plain loss on chosen answers.", built=False)
    pref_bco_weight: Float = key(0.0, "Weight of the binary classifier's loss.", built=False)
    pref_loss: Literal["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"] = key(
        "sigmoid", "Loss on pairs of answers.", built=False
    )
    dpo_label_smoothing: Float = key(0.0, "Share of pairs taken to be the wrong way round.", built=False)
    kto_chosen_weight: Float = key(1.0, "Weight of wanted answers in KTO.", built=False)
    kto_rejected_weight: Float = key(1.0, "Weight of unwanted answers in KTO.", built=False)
    simpo_gamma: Float = key(0.5, "Margin that SimPO aims at.", built=False)
    ppo_buffer_size: Int = key(1, "Batches of generated answers for each PPO step.", built=False)
    ppo_epochs: Int = key(4, "Passes over each PPO buffer.", built=False)
    ppo_score_norm: Flag = key(False, "Normalise PPO's rewards.", built=False)
    ppo_target: Float = key(6.0, "Divergence that PPO's adaptive penalty aims at.", built=False)
    ppo_whiten_rewards: Flag = key(False, "Whiten PPO's rewards before advantages are computed.", built=False)
    ref_model: str | None = key(None, "Reference model, by hub id or folder.", built=False)
    ref_model_adapters: str | None = key(None, "Adapters of the reference model.", built=False)
    ref_model_quantization_bit: Int | None = key(None, "Bits of a quantised reference model.", built=False)
    reward_model: str | None = key(None, "Reward model, by hub id, folder or address.", built=False)
    reward_model_adapters: str | None = key(None, "Adapters of the reward model.", built=False)
    reward_model_quantization_bit: Int | None = key(None, "Bits of a quantised reward model.", built=False)
    reward_model_type: Literal["lora", "full", "api"] = key("lora", "How the reward model is kept.", built=False)
    ld_alpha: Float | None = key(None, "Weight of the tokens by which one answer is longer.", built=False)
