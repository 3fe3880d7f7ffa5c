"""Keys that people still write: old names that are read as today's, and keys that are gone."""

from __future__ import annotations

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "fp16_backend": "half_precision_backend",
    "xpu_backend": "ddp_backend",
    "push_to_hub_token": "hub_token",
    "push_to_hub_model_id": "hub_model_id",
}
"""Other name -> the name that TrainConfig knows; type and meaning are the same."""

_DERIVED = "follows from other keys ({}); leave it out"
_KT = "gone since LLaMA-Factory 0.9.5, whose KTransformers keys are use_kt and kt_*"
_RAY = "gone since LLaMA-Factory 0.9.5, and the job starts its ranks itself; leave it out"

GONE = {
    "use_cache": "called use_kv_cache since LLaMA-Factory 0.9.4; training never keeps a cache",
    "compute_dtype": _DERIVED.format("bf16, fp16, pure_bf16"),
    "device_map": _DERIVED.format("the job's ranks"),
    "model_max_length": _DERIVED.format("cutoff_len"),
    "block_diag_attn": _DERIVED.format("neat_packing"),
    "dpo_beta": "called pref_beta since LLaMA-Factory 0.8",
    "dpo_loss": "called pref_loss since LLaMA-Factory 0.8",
    "dpo_ftx": "called pref_ftx since LLaMA-Factory 0.8",
    "image_resolution": "called image_max_pixels since LLaMA-Factory 0.9.2",
    "video_resolution": "called video_max_pixels since LLaMA-Factory 0.9.2",
    **dict.fromkeys(
        (
            "kt_optimize_rule", "cpu_infer", "chunk_size", "mode", "kt_maxlen", "kt_use_cuda_graph", "kt_mode",
            "kt_force_think",
        ),
        _KT,
    ),
    **dict.fromkeys(
        ("ray_run_name", "ray_storage_path", "ray_storage_filesystem", "resources_per_worker", "placement_strategy"),
        _RAY,
    ),
}  # fmt: skip
"""Key that no longer exists -> what to do instead."""
