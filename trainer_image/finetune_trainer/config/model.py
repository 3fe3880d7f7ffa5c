"""LLaMA-Factory's ModelArguments: which model, and how it is loaded, quantised, served and exported."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.inference import ExportKeys, ProcessorKeys, SglangKeys, VllmKeys
from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names


class BaseModelKeys(Group):
    """BaseModelArguments."""

    model_name_or_path: str | None = key(None, "Hub id or folder of the base model.")
    adapter_name_or_path: Names = key((), "LoRA adapter to go on training, by hub id or folder.")
    adapter_folder: str | None = key(None, "Folder inside the adapter's repository.", built=False)
    cache_dir: str | None = key(None, "Folder for what is fetched from a hub.")
    use_fast_tokenizer: Flag = key(True, "Take the tokenizer written in Rust where the model has one.")
    resize_vocab: Flag = key(False, "Make the embeddings as large as the tokenizer.", built=False)
    split_special_tokens: Flag = key(False, "Split special tokens that stand in the data's text.", built=False)
    add_tokens: Names = key((), "Ordinary tokens to add to the vocabulary.", built=False)
    add_special_tokens: Names = key((), "Special tokens to add to the vocabulary.", built=False)
    new_special_tokens_config: str | None = key(
        None, "YAML file of new special tokens, each with a description.", built=False
    )
    init_special_tokens: Literal["noise_init", "desc_init", "desc_init_w_noise"] = key(
        "noise_init", "How embeddings of new special tokens begin.", built=False
    )
    model_revision: str = key("main", "Branch, tag or commit of the model at its hub.")
    low_cpu_mem_usage: Flag = key(True, "Load weights piece by piece; without effect under ZeRO-3.")
    rope_scaling: Literal["linear", "dynamic", "yarn", "llama3"] | None = key(
        None, "How positions are stretched beyond the model's own length.", built=False
    )
    flash_attn: Literal["auto", "disabled", "sdpa", "fa2", "fa3"] = key(
        "auto", "Attention kernel; disabled means the plain one.", built=False, accepts=("disabled", "sdpa")
    )
    shift_attn: Flag = key(False, "LongLoRA's shifted sparse attention.", built=False)
    mixture_of_depths: Literal["convert", "load"] | None = key(
        None, "Make the model skip layers for some tokens, or load one that does.", built=False
    )
    use_unsloth: Flag = key(False, "Load and train through Unsloth.", built=False)
    use_unsloth_gc: Flag = key(False, "Keep checkpointed activations in host memory.", built=False)
    enable_liger_kernel: Flag = key(False, "Replace layers by Liger's fused kernels.", built=False)
    moe_aux_loss_coef: Float | None = key(None, "Weight of the routers' balancing loss.", built=False)
    disable_gradient_checkpointing: Flag = key(
        False, "Keep all activations, which is faster and takes more memory, instead of computing them again."
    )
    use_reentrant_gc: Flag = key(True, "Take PyTorch's re-entrant kind of gradient checkpointing.")
    upcast_layernorm: Flag = key(False, "Keep the weights of norms in float32.", built=False)
    upcast_lmhead_output: Flag = key(False, "Turn the output layer's result into float32.", built=False)
    train_from_scratch: Flag = key(False, "Begin with random weights.", built=False)
    infer_backend: Literal["huggingface", "vllm", "sglang", "ktransformers"] = key(
        "huggingface", "What generates text when chatting or serving.", built=False
    )
    offload_folder: str = key("offload", "Folder for weights that do not fit into memory.", built=False)
    use_kv_cache: Flag = key(True, "Keep keys and values of earlier tokens when generating.", built=False)
    use_v1_kernels: Flag = key(False, "Kernels of LLaMA-Factory's second generation.", built=False)
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = key(
        "auto", "Type of the weights when generating and exporting.", built=False
    )
    hf_hub_token: str | None = key(None, "Token for Hugging Face; refused, secrets go elsewhere.", kept_in="HF_TOKEN")
    ms_hub_token: str | None = key(
        None, "Token for ModelScope; refused, secrets go elsewhere.", kept_in="MODELSCOPE_API_TOKEN"
    )
    om_hub_token: str | None = key(None, "Token for Modelers; refused, secrets go elsewhere.", kept_in="OM_HUB_TOKEN")
    print_param_status: Flag = key(False, "Log name, type and device of every parameter.", built=False)
    trust_remote_code: Flag = key(False, "Run Python code that comes with the model.")


class QuantizationKeys(Group):
    """QuantizationArguments."""

    quantization_method: Literal["bnb", "gptq", "awq", "aqlm", "quanto", "eetq", "hqq", "mxfp4", "fp8"] = key(
        "bnb", "Library that quantises the base model while it is loaded.", built=False
    )
    quantization_bit: Int | None = key(None, "Bits of a quantised base model (QLoRA); none unless said.", built=False)
    quantization_type: Literal["nf4", "fp4"] = key("nf4", "Four-bit type of bitsandbytes.", built=False)
    double_quantization: Flag = key(True, "Quantise the quantisation's constants too.", built=False)
    quantization_device_map: Literal["auto"] | None = key(None, "Spread a four-bit model over the GPUs.", built=False)


class KTransformersKeys(Group):
    """KTransformersArguments."""

    use_kt: Flag = key(False, "Train experts on the CPU through KTransformers.", built=False)
    kt_weight_path: str | None = key(None, "Folder of experts quantised for KTransformers.", built=False)
    kt_expert_checkpoint_path: str | None = key(None, "Folder of experts to convert on loading.", built=False)
    kt_use_lora_experts: Flag | None = key(None, "Add LoRA experts on the GPU.", built=False)
    kt_lora_expert_num: Int | None = key(None, "How many LoRA experts.", built=False)
    kt_lora_expert_intermediate_size: Int | None = key(None, "Width of the LoRA experts.", built=False)


class ModelGroup(SglangKeys, VllmKeys, ExportKeys, ProcessorKeys, KTransformersKeys, QuantizationKeys, BaseModelKeys):
    """Which model, and how it is loaded."""
