"""LLaMA-Factory's FinetuningArguments: the stage, the weights that move, and how."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.optimisers import ApolloKeys, BadamKeys, GaloreKeys
from finetune_trainer.config.preference import PreferenceKeys
from finetune_trainer.config.types import Flag, Float, Int, Names

_TEXT = "only text models are trained, which have no such part; leave it out"


class FreezeKeys(Group):
    """FreezeArguments: some layers of the model move, the others stand still."""

    freeze_trainable_layers: Int = key(2, "Layers that move: the last n, or the first n when negative.")
    freeze_trainable_modules: Names = key(("all",), "Modules of those layers that move.")
    freeze_extra_modules: Names = key((), "Modules outside the layers that move too.")


class OftKeys(Group):
    """OFTArguments: orthogonal adapters; the first two keys speak of LoRA too."""

    additional_target: Names = key((), "Modules trained in full beside the adapter, and saved with it.")
    create_new_adapter: Flag = key(False, "Merge the given adapters and begin a fresh one.")
    module_dropout: Float = key(
        0.0,
        "Share of OFT blocks left out in a step.",
        refused="peft makes OFT's dropout but never applies it (0.21.2), so it would do nothing; leave it out, or "
        "take finetuning_type: lora with lora_dropout",
    )
    oft_rank: Int = key(0, "OFT blocks of each layer; 0 goes by oft_block_size.", ge=0)
    oft_block_size: Int = key(32, "Width of an OFT block.", ge=0)
    oft_target: Names = key(("all",), "Modules that get an OFT adapter.")


class LoraKeys(Group):
    """LoraArguments."""

    lora_alpha: Int | None = key(None, "Scale of the adapter; twice lora_rank unless said.", gt=0)
    lora_dropout: Float = key(0.0, "Dropout inside the adapter.", ge=0, lt=1)
    lora_rank: Int = key(8, "Rank of the adapter.", gt=0)
    lora_target: Names = key(("all",), "Modules that get an adapter; all means every linear layer but the output's.")
    loraplus_lr_ratio: Float | None = key(None, "LoRA+: how much faster the B matrices learn.", gt=0)
    loraplus_lr_embedding: Float = key(1e-6, "LoRA+: learning rate of adapters on embeddings.", ge=0)
    use_rslora: Flag = key(False, "Scale the adapter by the square root of its rank.")
    use_dora: Flag = key(False, "Learn direction and magnitude of the weights separately (DoRA).")
    pissa_init: Flag = key(False, "Begin the adapter with the weights' principal components (PiSSA).")
    pissa_iter: Int = key(16, "Iterations of PiSSA's decomposition; -1 computes it exactly.", ge=-1)
    pissa_convert: Flag = key(False, "Save a PiSSA adapter as a plain one at the end.")


class SwanlabKeys(Group):
    """SwanLabArguments: tracking by SwanLab."""

    use_swanlab: Flag = key(False, "Track the run with SwanLab.")
    swanlab_project: str | None = key("llamafactory", "SwanLab's project.")
    swanlab_workspace: str | None = key(None, "SwanLab's workspace.")
    swanlab_run_name: str | None = key(None, "Name of the run at SwanLab.")
    swanlab_mode: Literal["cloud", "local"] = key("cloud", "Send the run to SwanLab, or keep it here.")
    swanlab_api_key: str | None = key(
        None, "Key for SwanLab; refused, secrets go elsewhere.", kept_in="SWANLAB_API_KEY"
    )
    swanlab_logdir: str | None = key(None, "Folder for what SwanLab keeps here.")
    swanlab_lark_webhook_url: str | None = key(
        None, "Lark's address for notices; refused, who knows it may post there.", kept_in="SWANLAB_LARK_WEBHOOK_URL"
    )
    swanlab_lark_secret: str | None = key(
        None, "Secret of Lark's webhook; refused, secrets go elsewhere.", kept_in="SWANLAB_LARK_SECRET"
    )


class MethodKeys(Group):
    """FinetuningArguments' own keys."""

    pure_bf16: Flag = key(False, "Keep weights and optimiser in bfloat16, without a float32 copy.")
    stage: Literal["pt", "sft", "rm", "ppo", "dpo", "kto"] = key("sft", "What the data teaches.")
    finetuning_type: Literal["lora", "oft", "freeze", "full"] = key("lora", "Which weights move.")
    use_llama_pro: Flag = key(False, "Train only the blocks that were added to the model.")
    use_adam_mini: Flag = key(False, "Optimiser Adam-mini.")
    use_mca: Flag = key(
        False,
        "Train through Megatron-core.",
        refused="Megatron is not supported; deepspeed: zero3 splits the same models over the same GPUs",
    )
    use_hyper_parallel: Flag = key(
        False,
        "Train through HyperParallel.",
        refused="HyperParallel (Ascend) is not supported; deepspeed: zero3 or fsdp: full_shard share the weights",
    )
    hyper_parallel_args: str | None = key(
        None,
        "JSON file for HyperParallel.",
        refused="HyperParallel (Ascend) is not supported; deepspeed: zero3 or fsdp: full_shard share the weights",
    )
    use_muon: Flag = key(False, "Optimiser Muon.")
    use_dft_loss: Flag = key(False, "Weigh each token's loss by its probability (DFT).")
    use_asft_loss: Flag = key(False, "DFT held near the base model (ASFT).")
    asft_alpha: Float = key(0.1, "How strongly ASFT holds to the base model.", ge=0)
    use_eaft_loss: Flag = key(False, "Weigh each token's loss by the prediction's entropy (EAFT).")
    eaft_alpha: Float = key(1.0, "Exponent of EAFT's weights.", ge=0)
    freeze_vision_tower: Flag = key(True, "Multimodal models: the image encoder stands still.", refused=_TEXT)
    freeze_multi_modal_projector: Flag = key(True, "Multimodal models: the projector stands still.", refused=_TEXT)
    freeze_language_model: Flag = key(False, "Multimodal models: the language model stands still.", refused=_TEXT)
    compute_accuracy: Flag = key(False, "Report the share of right tokens when evaluating, row by row; stage sft.")
    disable_shuffling: Flag = key(False, "Take the rows in the data's order.")
    early_stopping_steps: Int | None = key(None, "Evaluations without a better result before the run ends.", gt=0)
    plot_loss: Flag = key(False, "Draw the losses as pictures beside the model.")
    include_effective_tokens_per_second: Flag = key(
        False, "Report the run's tokens a second without padding, of each rank, in train_results.json."
    )


class FinetuningGroup(
    MethodKeys, SwanlabKeys, BadamKeys, ApolloKeys, GaloreKeys, PreferenceKeys, LoraKeys, OftKeys, FreezeKeys
):
    """The stage, the weights that move, and how."""
