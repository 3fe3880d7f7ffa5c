"""Keys about trackers, profilers and logs together; and the keys that are refused for good, each with what works."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.config.key import info
from finetune_trainer.config.trackers import asked
from finetune_trainer.config.train_config import FIELDS


def told(mapping: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        parse(mapping)
    return [str(violation).removeprefix("spec.training.") for violation in refused.value.violations]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"report_to": "comet_ml"},
            "report_to: comet_ml: not supported; what works: tensorboard, wandb, mlflow, trackio",
        ),
        ({"report_to": "kubeflow"}, "report_to: kubeflow: a job's progress is always told to the operator"),
        ({"report_to": "none,wandb"}, "report_to: none stands alone"),
        ({"report_to": ["all", "wandb"]}, "report_to: all stands alone"),
        ({"logging_dir": "logs"}, "logging_dir: has no effect without report_to: tensorboard"),
        ({"project": "mine"}, "project: has no effect without report_to: trackio"),
        ({"trackio_space_id": "a/b"}, "trackio_space_id: has no effect without report_to: trackio"),
        ({"trackio_bucket_id": "a/b"}, "trackio_bucket_id: has no effect without report_to: trackio"),
        ({"trackio_static_space_id": "a/b"}, "trackio_static_space_id: has no effect without report_to: trackio"),
        ({"swanlab_mode": "local"}, "swanlab_mode: has no effect without report_to: swanlab"),
        ({"profiler_repeat": 2}, "profiler_repeat: has no effect without enable_torch_profiler: true"),
        ({"debug": "tpu_metrics_debug"}, "debug: tpu_metrics_debug: not supported; what works: underflow_overflow"),
        (
            {"include_num_input_tokens_seen": "all", "include_effective_tokens_per_second": True},
            "include_num_input_tokens_seen: counts padding",
        ),
    ],
    ids=str,
)
def test_what_does_not_go_together(said: dict[str, Any], message: str) -> None:
    (line,) = told(said)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("said", "trackers"),
    [
        ({}, ()),
        ({"report_to": "none"}, ()),
        ({"report_to": []}, ()),
        ({"report_to": "wandb,tensorboard"}, ("wandb", "tensorboard")),
        ({"report_to": "swanlab", "use_swanlab": True}, ("swanlab",)),
        ({"use_swanlab": True, "swanlab_mode": "local"}, ("swanlab",)),
        ({"report_to": "all", "logging_dir": "logs", "swanlab_mode": "local"}, ("all",)),
    ],
    ids=str,
)
def test_who_is_told(said: dict[str, Any], trackers: tuple[str, ...]) -> None:
    assert asked(parse(said)) == trackers


REFUSED: dict[str, tuple[Any, str]] = {
    "logging_nan_inf_filter": (True, "a loss that is not a number ends the run"),
    "disable_tqdm": (False, "a terminal shows ours"),
    "save_safetensors": (False, "always saved as safetensors"),
    "save_on_each_node": (True, "a volume that all nodes see"),
    "restore_callback_states_from_checkpoint": (True, "goes on from its checkpoint"),
    "push_to_hub": (True, "hf upload"),
    "push_to_hub_organization": ("org", "hf upload"),
    "hub_private_repo": (True, "--private"),
    "hub_model_id": ("org/name", "hf upload"),
    "hub_strategy": ("end", "hf upload"),
    "hub_always_push": (True, "hf upload"),
    "hub_revision": ("main", "--revision"),
    "train_sampling_strategy": ("batch_rebalance", "group_by_length: true"),
    "dataloader_in_order": (False, "leave it out"),
    "length_column_name": ("n", "counted from the tokens"),
    "dispatch_batches": (True, "each rank reads its own rows"),
    "split_batches": (True, "divide it by the number of ranks"),
    "local_rank": (3, "LOCAL_RANK"),
    "sharded_ddp": ("simple", "zero2 or zero3, or fsdp"),
    "tp_size": (2, "zero3"),
    "ray_scope": ("all", "not supported"),
    "auto_find_batch_size": (True, "double gradient_accumulation_steps"),
    "fp16_opt_level": ("O2", "fp16: true alone"),
    "half_precision_backend": ("apex", "PyTorch casts"),
    "torchdynamo": ("inductor", "torch_compile_backend"),
    "use_mps_device": (True, "use_cpu: true"),
    "jit_mode_eval": (True, "torch_compile: true"),
    "use_ipex": (True, "leave it out"),
    "tpu_num_cores": (8, "TPUs are not supported"),
    "tpu_metrics_debug": (True, "debug: underflow_overflow"),
    "past_index": (1, "leave it out"),
    "mp_parameters": ("a", "torchrun"),
    "infer_backend": ("vllm", "vllm serve"),
    "offload_folder": ("/tmp/x", "zero3_offload"),
    "use_kv_cache": (False, "leave it out"),
    "use_v1_kernels": (True, "enable_liger_kernel: true"),
    "use_kt": (True, "zero3_offload"),
    "kt_weight_path": ("a", "zero3_offload"),
    "kt_expert_checkpoint_path": ("a", "zero3_offload"),
    "kt_use_lora_experts": (True, "zero3_offload"),
    "kt_lora_expert_num": (1, "zero3_offload"),
    "kt_lora_expert_intermediate_size": (1, "zero3_offload"),
    "media_dir": ("a", "only text models"),
    "image_max_pixels": (1, "only text models"),
    "image_min_pixels": (1, "only text models"),
    "image_do_pan_and_scan": (True, "only text models"),
    "crop_to_patches": (True, "only text models"),
    "video_max_pixels": (1, "only text models"),
    "video_min_pixels": (1, "only text models"),
    "video_fps": (1.0, "only text models"),
    "video_maxlen": (1, "only text models"),
    "use_audio_in_video": (True, "only text models"),
    "audio_sampling_rate": (1, "only text models"),
    "freeze_vision_tower": (False, "only text models"),
    "freeze_multi_modal_projector": (False, "only text models"),
    "freeze_language_model": (True, "only text models"),
    "vllm_maxlen": (1, "vllm serve"),
    "vllm_gpu_util": (0.5, "vllm serve"),
    "vllm_enforce_eager": (True, "vllm serve"),
    "vllm_max_lora_rank": (1, "vllm serve"),
    "vllm_config": ({"a": 1}, "vllm serve"),
    "sglang_maxlen": (1, "sglang.launch_server"),
    "sglang_mem_fraction": (0.5, "sglang.launch_server"),
    "sglang_tp_size": (1, "sglang.launch_server"),
    "sglang_config": ({"a": 1}, "sglang.launch_server"),
    "sglang_lora_backend": ("flashinfer", "sglang.launch_server"),
    "ray_num_workers": (2, "NNODES"),
    "ray_init_kwargs": ({"a": 1}, "NNODES"),
    "master_addr": ("a", "MASTER_ADDR"),
    "master_port": (1, "MASTER_PORT"),
    "use_mca": (True, "zero3"),
    "use_hyper_parallel": (True, "zero3"),
    "hyper_parallel_args": ("a.json", "zero3"),
}


@pytest.mark.shows(
    "logging_nan_inf_filter", "disable_tqdm", "save_safetensors", "save_on_each_node",
    "restore_callback_states_from_checkpoint", "push_to_hub", "push_to_hub_organization", "hub_private_repo",
    "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision", "train_sampling_strategy",
    "dataloader_in_order", "length_column_name",
    "dispatch_batches", "split_batches", "local_rank", "sharded_ddp", "tp_size",
    "ray_scope", "auto_find_batch_size", "fp16_opt_level", "half_precision_backend", "torchdynamo",
    "use_mps_device", "jit_mode_eval", "use_ipex", "tpu_num_cores", "tpu_metrics_debug", "past_index",
    "mp_parameters", "infer_backend", "offload_folder", "use_kv_cache", "use_v1_kernels", "use_kt",
    "kt_weight_path", "kt_expert_checkpoint_path", "kt_use_lora_experts", "kt_lora_expert_num",
    "kt_lora_expert_intermediate_size", "media_dir", "image_max_pixels", "image_min_pixels",
    "image_do_pan_and_scan", "crop_to_patches", "video_max_pixels", "video_min_pixels", "video_fps",
    "video_maxlen", "use_audio_in_video", "audio_sampling_rate", "freeze_vision_tower",
    "freeze_multi_modal_projector", "freeze_language_model", "vllm_maxlen", "vllm_gpu_util",
    "vllm_enforce_eager", "vllm_max_lora_rank", "vllm_config", "sglang_maxlen", "sglang_mem_fraction",
    "sglang_tp_size", "sglang_config", "sglang_lora_backend", "ray_num_workers", "ray_init_kwargs",
    "master_addr", "master_port", "use_mca", "use_hyper_parallel", "hyper_parallel_args",
)  # fmt: skip
@pytest.mark.parametrize("key", REFUSED)
def test_refused_with_what_works_instead(key: str) -> None:
    value, instead = REFUSED[key]
    lines = [line for line in told({key: value}) if line.startswith(f"{key}: ")]
    assert len(lines) == 1
    assert instead in lines[0]
    default = FIELDS[key][1].default
    parse({key: list(default) if isinstance(default, tuple) else default})  # what everybody's exported YAML says


@pytest.mark.shows("remove_unused_columns", "enable_jit_checkpoint")
@pytest.mark.parametrize("key", ["remove_unused_columns", "enable_jit_checkpoint"])
def test_what_holds_anyway_may_be_said_either_way(key: str) -> None:
    """No column is there that a model does not take; a checkpoint at SIGTERM is always written (test_job_runs)."""
    for value in (True, False):
        parse({key: value})


@pytest.mark.shows("hub_token", "swanlab_api_key", "swanlab_lark_webhook_url", "swanlab_lark_secret")
@pytest.mark.parametrize("key", ["hub_token", "swanlab_api_key", "swanlab_lark_webhook_url", "swanlab_lark_secret"])
def test_secrets_go_by_the_environment(key: str) -> None:
    (line,) = told({key: "s3cr3t"})
    assert f"set the variable {info(FIELDS[key][1]).kept_in}" in line
    assert "s3cr3t" not in line
