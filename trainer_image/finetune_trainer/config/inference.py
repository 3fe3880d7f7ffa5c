"""LLaMA-Factory's model arguments that speak of images, of serving and of exporting."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Mapping

_MEDIA = "only text models are trained, and data sets of text; leave it out"
_VLLM = "vLLM serves, it does not train; serve the saved model by itself: vllm serve FOLDER"
_SGLANG = "SGLang serves, it does not train; serve the saved model: python -m sglang.launch_server --model-path FOLDER"


class ProcessorKeys(Group):
    """ProcessorArguments: how media are made smaller before a model sees them."""

    image_max_pixels: Int = key(768 * 768, "Shrink images that have more pixels.", refused=_MEDIA)
    image_min_pixels: Int = key(32 * 32, "Enlarge images that have fewer pixels.", refused=_MEDIA)
    image_do_pan_and_scan: Flag = key(False, "Cut wide images into windows (Gemma 3).", refused=_MEDIA)
    crop_to_patches: Flag = key(False, "Cut images into patches (InternVL).", refused=_MEDIA)
    video_max_pixels: Int = key(256 * 256, "Shrink video frames that have more pixels.", refused=_MEDIA)
    video_min_pixels: Int = key(16 * 16, "Enlarge video frames that have fewer pixels.", refused=_MEDIA)
    video_fps: Float = key(2.0, "Frames taken from each second of a video.", refused=_MEDIA)
    video_maxlen: Int = key(128, "Most frames taken from a video.", refused=_MEDIA)
    use_audio_in_video: Flag = key(False, "Interleave a video's sound with its frames.", refused=_MEDIA)
    audio_sampling_rate: Int = key(16000, "Samples of sound for each second.", refused=_MEDIA)


class ExportKeys(Group):
    """ExportArguments: the `export` command."""

    export_dir: str | None = key(None, "Folder for the exported model.")
    export_size: Int = key(5, "Largest file of the exported model, in GB.", gt=0)
    export_device: Literal["cpu", "auto"] = key("cpu", "Device that merges the weights.")
    export_quantization_bit: Int | None = key(None, "Bits of a model exported with GPTQ.")
    export_quantization_dataset: str | None = key(None, "Data that calibrates the quantisation.")
    export_quantization_nsamples: Int = key(128, "Rows that calibrate the quantisation.", gt=0)
    export_quantization_maxlen: Int = key(1024, "Tokens of each calibrating row.", gt=0)
    export_legacy_format: Flag = key(False, "Write .bin files instead of safetensors.")
    export_hub_model_id: str | None = key(None, "Hub repository to push the exported model to.")


class VllmKeys(Group):
    """VllmArguments: generating with vLLM."""

    vllm_maxlen: Int = key(4096, "Longest sequence that vLLM serves.", refused=_VLLM)
    vllm_gpu_util: Float = key(0.7, "Share of the GPU's memory that vLLM takes.", refused=_VLLM)
    vllm_enforce_eager: Flag = key(False, "Run vLLM without CUDA graphs.", refused=_VLLM)
    vllm_max_lora_rank: Int = key(32, "Highest adapter rank that vLLM loads.", refused=_VLLM)
    vllm_config: Mapping | None = key(None, "Further settings of vLLM's engine.", refused=_VLLM)


class SglangKeys(Group):
    """SGLangArguments: generating with SGLang."""

    sglang_maxlen: Int = key(4096, "Longest sequence that SGLang serves.", refused=_SGLANG)
    sglang_mem_fraction: Float = key(0.7, "Share of the GPU's memory that SGLang takes.", refused=_SGLANG)
    sglang_tp_size: Int = key(-1, "GPUs that SGLang spreads the model over; -1 takes all.", refused=_SGLANG)
    sglang_config: Mapping | None = key(None, "Further settings of SGLang's server.", refused=_SGLANG)
    sglang_lora_backend: Literal["triton", "flashinfer"] = key(
        "triton", "Kernels that SGLang applies adapters with.", refused=_SGLANG
    )
