"""Hugging Face's TrainingArguments, first half: batches, learning rate, optimiser, precision, memory.

Keys marked `passed` go to transformers as they are; `hf.py` translates the others that have an effect.
"""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Mapping, Names

Schedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
]  # fmt: skip
Optimiser = Literal[
    "adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop",
    "adamw_torch_xla", "adamw_torch_npu_fused", "adamw_anyprecision", "adamw_torch_4bit", "adamw_torch_8bit",
    "ademamix", "adamw_bnb_8bit", "adamw_8bit", "ademamix_8bit", "lion_8bit", "lion_32bit", "paged_adamw_32bit",
    "paged_adamw_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit", "paged_lion_32bit", "paged_lion_8bit",
    "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit", "galore_adamw", "galore_adamw_8bit", "galore_adafactor",
    "galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise", "lomo", "adalomo",
    "grokadamw", "schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd", "apollo_adamw",
    "apollo_adamw_layerwise", "stable_adamw",
]  # fmt: skip


Compiler = Literal["inductor", "eager", "aot_eager", "cudagraphs", "onnxrt", "tensorrt", "tvm"]
"""Those of accelerate's DynamoBackend that this PyTorch still has."""
CompilerMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


class BatchKeys(Group):
    """How many examples make a step, and how many steps a run."""

    per_device_train_batch_size: Int = key(
        8, "Examples that a rank computes at once (micro batch).", gt=0, passed=True
    )
    per_device_eval_batch_size: Int = key(8, "Examples that a rank evaluates at once.", gt=0, passed=True)
    gradient_accumulation_steps: Int = key(1, "Micro batches that make one step.", gt=0, passed=True)
    auto_find_batch_size: Flag = key(
        False,
        "Halve the micro batch until it fits.",
        refused="the batch would depend on the GPU; halve per_device_train_batch_size and double "
        "gradient_accumulation_steps, which learns the same",
    )
    num_train_epochs: Float = key(3.0, "Passes over the data.", gt=0, passed=True)
    max_steps: Int = key(-1, "Steps of the run, whatever num_train_epochs says; -1 goes by it.", ge=-1, passed=True)
    average_tokens_across_devices: Flag = key(True, "Weigh each rank's loss by its learned tokens.", passed=True)
    label_smoothing_factor: Float = key(0.0, "Certainty taken from each label; stages pt and sft.", ge=0, lt=1)
    full_determinism: Flag = key(False, "Only deterministic kernels: slower, and for finding faults.", passed=True)
    seed: Int = key(42, "Seed of all that is drawn by chance.", ge=0, lt=2**32, passed=True)
    data_seed: Int | None = key(None, "Seed of the order of rows; seed unless said.", ge=0, lt=2**32, passed=True)


class OptimiserKeys(Group):
    """The learning rate's course and the optimiser."""

    learning_rate: Float = key(5e-5, "Highest learning rate.", ge=0, passed=True)
    lr_scheduler_type: Schedule = key("linear", "Course of the learning rate after the warm-up.", passed=True)
    lr_scheduler_kwargs: Mapping | None = key(None, "Further settings of that course.", passed=True)
    warmup_steps: Float = key(0, "Steps of rising learning rate, or below 1 their share of all steps.", ge=0)
    warmup_ratio: Float = key(0.0, "Share of all steps with rising learning rate.", ge=0, lt=1)
    optim: Optimiser = key("adamw_torch_fused", "Optimiser.", passed=True)
    optim_args: str | None = key(None, "Further settings of the optimiser, as name=value, with commas.", passed=True)
    optim_target_modules: Names = key(
        (), "Layers that GaLore's and APOLLO's optimisers project; all: all linear ones."
    )
    adafactor: Flag = key(False, "Old way to say optim: adafactor.")
    weight_decay: Float = key(0.0, "Weight decay, biases and norms left out.", ge=0, passed=True)
    adam_beta1: Float = key(0.9, "Adam's decay of the mean.", ge=0, lt=1, passed=True)
    adam_beta2: Float = key(0.999, "Adam's decay of the variance.", ge=0, lt=1, passed=True)
    adam_epsilon: Float = key(1e-8, "Adam's smallest divisor.", ge=0, passed=True)
    max_grad_norm: Float = key(
        1.0, "Longest gradient; longer ones are shortened. 0 never shortens.", ge=0, passed=True
    )
    neftune_noise_alpha: Float | None = key(
        None, "Noise on the embeddings while training (NEFTune); 0 is none.", ge=0, passed=True
    )


class PrecisionKeys(Group):
    """Types of numbers, kernels, and what is given up to spare memory."""

    bf16: Flag = key(False, "Compute in bfloat16, keep weights in float32.", passed=True)
    fp16: Flag = key(False, "Compute in float16 with a scaled loss, keep weights in float32.", passed=True)
    fp16_opt_level: str = key(
        "O1", "Level of NVIDIA's old apex.", refused="NVIDIA's apex is gone; write fp16: true alone"
    )
    bf16_full_eval: Flag = key(False, "The evaluation at the end has its weights in bfloat16, too.", passed=True)
    fp16_full_eval: Flag = key(False, "The evaluation at the end has its weights in float16, too.", passed=True)
    tf32: Flag | None = key(None, "Allow TF32 in float32 products; PyTorch's own setting unless said.", passed=True)
    half_precision_backend: str = key(
        "auto",
        "Who casts to half precision: PyTorch.",
        accepts=("cuda_amp", "cpu_amp"),
        refused="NVIDIA's apex is gone, PyTorch casts; leave it out",
    )
    gradient_checkpointing: Flag | None = key(
        None, "As disable_gradient_checkpointing, the other way round; the two must agree."
    )
    gradient_checkpointing_kwargs: Mapping | None = key(
        None, "Only use_reentrant, which must agree with use_reentrant_gc."
    )
    torch_compile: Flag = key(False, "Compile the model.", passed=True)
    torch_compile_backend: Compiler | None = key(
        None, "Compiler, inductor unless said; turns torch_compile on.", passed=True
    )
    torch_compile_mode: CompilerMode | None = key(None, "The compiler's mode; turns torch_compile on.", passed=True)
    torchdynamo: str | None = key(
        None,
        "Old name of torch_compile_backend.",
        refused="old name; write torch_compile: true and torch_compile_backend",
    )
    use_liger_kernel: Flag = key(False, "As enable_liger_kernel.")
    liger_kernel_config: Mapping | None = key(None, "Which of Liger's kernels.")
    torch_empty_cache_steps: Int | None = key(
        None, "Steps between emptying the allocator's cache; never unless said.", gt=0, passed=True
    )
    use_cpu: Flag = key(False, "Train on CPUs even where there is a GPU.", passed=True)
    use_mps_device: Flag = key(
        False,
        "Old way to ask for Apple's GPU.",
        refused="Apple's GPU is not supported; use_cpu: true trains on such a machine",
    )
    jit_mode_eval: Flag = key(
        False,
        "Evaluate through TorchScript.",
        refused="TorchScript evaluation is gone from transformers; write torch_compile: true",
    )
    use_ipex: Flag = key(
        False,
        "Intel's extension for PyTorch.",
        refused="Intel's extension is gone, PyTorch does its work itself; leave it out",
    )
    tpu_num_cores: Int | None = key(None, "Cores of a TPU.", refused="TPUs are not supported; leave it out")
    tpu_metrics_debug: Flag = key(
        False,
        "Print a TPU's metrics.",
        refused="TPUs are not supported; leave it out, or write debug: underflow_overflow",
    )
    past_index: Int = key(
        -1, "Output to feed back as past state.", refused="no text model has such an output; leave it out"
    )
    mp_parameters: str = key(
        "",
        "Settings of SageMaker's launcher.",
        refused="SageMaker's launcher is not supported; torchrun, deepspeed and the operator's jobs start ranks",
    )
