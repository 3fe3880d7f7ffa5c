"""LLaMA-Factory's ModelArguments: which model, and how it is loaded, quantised, served and exported."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.inference import ExportKeys, ProcessorKeys, SglangKeys, VllmKeys
from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names

_KT = "KTransformers is not supported; deepspeed: zero3_offload keeps weights and optimiser in host memory"


class BaseModelKeys(Group):
    """BaseModelArguments."""

    model_name_or_path: str | None = key(None, "Hub id or folder of the base model.")
    adapter_name_or_path: Names = key(
        (), "Adapters, by hub id or folder: all but the last are merged, the last goes on training."
    )
    adapter_folder: str | None = key(None, "Folder inside the adapter's repository.")
    cache_dir: str | None = key(None, "Folder for what is fetched from a hub.")
    use_fast_tokenizer: Flag = key(True, "Take the tokenizer written in Rust where the model has one.")
    resize_vocab: Flag = key(False, "Make the embeddings as large as the tokenizer.")
    split_special_tokens: Flag = key(False, "Split special tokens that stand in the data's text.")
    add_tokens: Names = key((), "Ordinary tokens to add to the vocabulary.")
    add_special_tokens: Names = key((), "Special tokens to add to the vocabulary.")
    new_special_tokens_config: str | None = key(None, "YAML file of new special tokens, each with a description.")
    init_special_tokens: Literal["noise_init", "desc_init", "desc_init_w_noise"] = key(
        "noise_init", "How embeddings of new special tokens begin."
    )
    model_revision: str = key("main", "Branch, tag or commit of the model at its hub.")
    low_cpu_mem_usage: Flag = key(
        True, "Load weights straight to the GPU, not by way of the CPU's memory; under ZeRO-3 always in pieces."
    )
    rope_scaling: Literal["linear", "dynamic", "yarn", "llama3"] | None = key(
        None, "How rotary positions are stretched beyond the model's own length, up to cutoff_len."
    )
    flash_attn: Literal["auto", "disabled", "sdpa", "fa2", "fa3", "flex"] = key(
        "auto", "Attention kernel; disabled means the plain one, fa2, fa3 and flex need a GPU."
    )
    shift_attn: Flag = key(False, "LongLoRA's shifted sparse attention while training; llama only.")
    mixture_of_depths: Literal["convert", "load"] | None = key(
        None, "Make the model skip layers for some tokens, or load one that does.",
        refused="its package mixture-of-depth cannot be imported with transformers 5, and fails in its first step "
        "with 4.53 (positions of the wrong length); to spare memory and time take enable_liger_kernel, packing or "
        "finetuning_type: lora",
    )  # fmt: skip
    use_unsloth: Flag = key(
        False, "Load and train through Unsloth.",
        refused="Unsloth replaces the trainer's, peft's and transformers' code when it is imported, so that nothing "
        "here would hold; the same memory is spared by enable_liger_kernel, use_unsloth_gc and quantization_bit: 4",
    )  # fmt: skip
    use_unsloth_gc: Flag = key(False, "Keep checkpointed activations in the host's memory; needs a GPU.")
    enable_liger_kernel: Flag = key(False, "Replace layers by Liger's fused kernels; needs a GPU.")
    moe_aux_loss_coef: Float | None = key(None, "Weight of the routers' balancing loss; 0 is none.", ge=0)
    disable_gradient_checkpointing: Flag = key(
        False,
        "Keep all activations: faster, more memory. Unsaid, pt and sft without DeepSpeed or FSDP do so where there "
        "is room.",
    )
    use_reentrant_gc: Flag = key(True, "Take PyTorch's re-entrant kind of gradient checkpointing.")
    upcast_layernorm: Flag = key(False, "Keep the weights of norms in float32.")
    upcast_lmhead_output: Flag = key(False, "Turn the output layer's result into float32.")
    train_from_scratch: Flag = key(False, "Begin with random weights.")
    infer_backend: Literal["huggingface", "vllm", "sglang", "ktransformers"] = key(
        "huggingface",
        "What generates text when chatting or serving.",
        refused="training generates with transformers; serve the saved model by itself: vllm serve FOLDER",
    )
    offload_folder: str = key(
        "offload",
        "Folder for weights that do not fit into memory.",
        refused="training keeps no weights on disk; deepspeed: zero3_offload keeps them in host memory",
    )
    use_kv_cache: Flag = key(
        True,
        "Keep keys and values of earlier tokens when generating.",
        refused="without it, each token would cost the whole text again, for the same answer; leave it out",
    )
    use_v1_kernels: Flag = key(
        False,
        "Kernels of LLaMA-Factory's second generation.",
        refused="they are for Ascend's NPUs, which are not supported; write enable_liger_kernel: true",
    )
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = key("auto", "Type of the weights when exporting.")
    hf_hub_token: str | None = key(None, "Token for Hugging Face; refused, secrets go elsewhere.", kept_in="HF_TOKEN")
    ms_hub_token: str | None = key(
        None, "Token for ModelScope; refused, secrets go elsewhere.", kept_in="MODELSCOPE_API_TOKEN"
    )
    om_hub_token: str | None = key(None, "Token for Modelers; refused, secrets go elsewhere.", kept_in="OM_HUB_TOKEN")
    print_param_status: Flag = key(False, "Log name, type and device of every parameter.")
    trust_remote_code: Flag = key(False, "Run Python code that comes with the model.")


class QuantizationKeys(Group):
    """QuantizationArguments."""

    quantization_method: Literal["bnb", "gptq", "awq", "aqlm", "quanto", "eetq", "hqq", "mxfp4", "fp8"] = key(
        "bnb", "Library that quantises the base model while it is loaded: bnb, hqq or eetq.",
        refused="LLaMA-Factory names quanto and does nothing with it; write bnb, hqq or eetq",
        accepts=("gptq", "awq", "aqlm", "eetq", "hqq", "mxfp4", "fp8"),
    )  # fmt: skip
    quantization_bit: Int | None = key(None, "Bits of a quantised base model (QLoRA); none unless said.")
    quantization_type: Literal["nf4", "fp4"] = key("nf4", "Four-bit type of bitsandbytes.")
    double_quantization: Flag = key(True, "Quantise the constants of bitsandbytes' four bits too.")
    quantization_device_map: Literal["auto"] | None = key(
        None, "Spread a four-bit model over the GPUs.",
        refused="training keeps a copy on each rank; leave it out, or split weights with deepspeed: zero3",
    )  # fmt: skip


class KTransformersKeys(Group):
    """KTransformersArguments."""

    use_kt: Flag = key(False, "Train experts on the CPU through KTransformers.", refused=_KT)
    kt_weight_path: str | None = key(None, "Folder of experts quantised for KTransformers.", refused=_KT)
    kt_expert_checkpoint_path: str | None = key(None, "Folder of experts to convert on loading.", refused=_KT)
    kt_use_lora_experts: Flag | None = key(None, "Add LoRA experts on the GPU.", refused=_KT)
    kt_lora_expert_num: Int | None = key(None, "How many LoRA experts.", refused=_KT)
    kt_lora_expert_intermediate_size: Int | None = key(None, "Width of the LoRA experts.", refused=_KT)


class ModelGroup(SglangKeys, VllmKeys, ExportKeys, ProcessorKeys, KTransformersKeys, QuantizationKeys, BaseModelKeys):
    """Which model, and how it is loaded."""
