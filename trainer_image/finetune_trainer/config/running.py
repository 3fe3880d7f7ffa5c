"""Hugging Face's TrainingArguments, second half: what is logged, evaluated, saved, loaded and distributed.

Keys marked `passed` go to transformers as they are; `hf.py` translates the others that have an effect.
"""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Mapping, NameOrMapping, Names

LogLevel = Literal["detail", "debug", "info", "warning", "error", "critical", "passive"]


class LoggingKeys(Group):
    """What a run says while it goes."""

    logging_strategy: Literal["no", "steps", "epoch"] = key("steps", "When losses are logged.", passed=True)
    logging_steps: Float = key(
        500, "Steps between two logged losses, or below 1 a share of all steps.", gt=0, passed=True
    )
    logging_first_step: Flag = key(False, "Log the first step too.", passed=True)
    logging_dir: str | None = key(None, "TensorBoard's folder; without effect while nothing reports there.")
    logging_nan_inf_filter: Flag = key(
        False,
        "Show the running mean where a loss is not a number; here such a loss is shown.",
        built=False,
        passed=True,
    )
    log_level: LogLevel = key("passive", "How much the first rank logs.", passed=True)
    log_level_replica: LogLevel = key("warning", "How much the other ranks log.", passed=True)
    log_on_each_node: Flag = key(True, "One rank of each node logs, not one of the job.", passed=True)
    disable_tqdm: Flag | None = key(
        None, "Transformers' own progress bar is never drawn.", built=False, accepts=(True,), passed=True
    )
    report_to: Names = key(("none",), "Trackers that get the metrics; none unless said.", built=False, accepts=((),))
    run_name: str | None = key(None, "Name of the run at trackers.", passed=True)
    project: str = key("huggingface", "Project at Trackio.", built=False)
    trackio_space_id: str | None = key(None, "Space that shows Trackio's results.", built=False)
    trackio_bucket_id: str | None = key(None, "Bucket that keeps Trackio's results.", built=False)
    trackio_static_space_id: str | Flag | None = key(None, "Static space of Trackio's results.", built=False)
    include_num_input_tokens_seen: Flag | Literal["no", "all", "non_padding"] = key(
        "no", "Count the tokens that the model has seen.", built=False, accepts=(False, True, "all")
    )
    include_tokens_per_second: Flag = key(False, "Log tokens a second.", built=False)
    skip_memory_metrics: Flag = key(True, "Leave memory out of the metrics, which is faster.", passed=True)
    debug: Names = key((), "Transformers' own means of finding faults.", built=False)


class EvaluationKeys(Group):
    """When and how a run is evaluated."""

    do_train: Flag = key(True, "Train; true unless said (LLaMA-Factory's default is false).", passed=True)
    do_eval: Flag = key(False, "Evaluate at the end.", passed=True)
    do_predict: Flag = key(False, "Generate answers at the end.", built=False)
    eval_strategy: Literal["no", "steps", "epoch"] = key("no", "When to evaluate.", passed=True)
    eval_steps: Float | None = key(
        None,
        "Steps between evaluations, or below 1 a share of all steps; logging_steps unless said.",
        gt=0,
        passed=True,
    )
    eval_delay: Float = key(0, "Steps or epochs before the first evaluation.", ge=0, passed=True)
    eval_on_start: Flag = key(False, "Evaluate before the first step.", passed=True)
    prediction_loss_only: Flag = key(False, "Compute nothing but the loss when evaluating.", passed=True)
    eval_accumulation_steps: Int | None = key(
        None, "Batches of predictions gathered on the GPU before they are moved to the CPU.", gt=0, passed=True
    )
    eval_do_concat_batches: Flag = key(True, "Join predictions of all batches.", passed=True)
    eval_use_gather_object: Flag = key(False, "Gather objects instead of tensors when evaluating.", passed=True)
    include_for_metrics: Names = key((), "What metrics get beside predictions.", built=False)
    include_inputs_for_metrics: Flag = key(False, "Metrics get the inputs too.", built=False)
    batch_eval_metrics: Flag = key(False, "Compute metrics batch by batch.", built=False)
    label_names: Names = key((), "Inputs that are labels.", built=False, accepts=(("labels",),))
    use_legacy_prediction_loop: Flag = key(False, "Transformers' old evaluation loop.", built=False)
    sortish_sampler: Flag = key(False, "Evaluate rows roughly by length.", built=False)
    predict_with_generate: Flag = key(False, "Evaluate by generating answers.", built=False)
    generation_max_length: Int | None = key(None, "Most tokens when evaluating by generating.", built=False)
    generation_num_beams: Int | None = key(None, "Beams when evaluating by generating.", built=False)
    generation_config: str | None = key(None, "Generation settings, by hub id or folder.", built=False)


class SavingKeys(Group):
    """What is kept, and where."""

    output_dir: str | None = key(None, "Folder for all that the run writes.")
    save_strategy: Literal["no", "steps", "epoch", "best"] = key(
        "steps", "When to save a checkpoint.", built=False, accepts=("no", "epoch"), passed=True
    )
    save_steps: Float = key(500, "Steps between checkpoints, or below 1 a share of all steps.", gt=0, passed=True)
    save_total_limit: Int | None = key(None, "Newest checkpoints to keep; all unless said.", gt=0, passed=True)
    save_only_model: Flag = key(False, "Leave optimiser and schedule out: a checkpoint can't be resumed.", passed=True)
    save_safetensors: Flag = key(True, "Save weights as safetensors.", built=False)
    save_on_each_node: Flag = key(False, "Save on each node's own disk.", built=False)
    enable_jit_checkpoint: Flag = key(
        False, "Transformers' own checkpoint at SIGTERM; ours is always on.", built=False
    )
    load_best_model_at_end: Flag = key(False, "Take the best checkpoint as the result.", built=False)
    metric_for_best_model: str | None = key(None, "What makes a checkpoint the best.", built=False)
    greater_is_better: Flag | None = key(None, "Whether that metric should be high.", built=False)
    resume_from_checkpoint: str | Flag | None = key(
        None, "Checkpoint folder to go on from, true for the newest; the newest, too, without overwrite_output_dir."
    )
    ignore_data_skip: Flag = key(False, "Resume with the data's first rows instead of the next.", passed=True)
    restore_callback_states_from_checkpoint: Flag = key(False, "Resume callbacks too.", built=False)
    push_to_hub: Flag = key(False, "Push the model to a hub.", built=False)
    push_to_hub_organization: str | None = key(None, "Organisation to push to.", built=False)
    hub_token: str | None = key(None, "Token for Hugging Face; refused, secrets go elsewhere.", kept_in="HF_TOKEN")
    hub_private_repo: Flag | None = key(None, "Make the pushed repository private.", built=False)
    hub_model_id: str | None = key(None, "Repository to push to.", built=False)
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = key(
        "every_save", "When to push.", built=False
    )
    hub_always_push: Flag = key(False, "Push even while the last push is under way.", built=False)
    hub_revision: str | None = key(None, "Branch to push to.", built=False)


class LoadingKeys(Group):
    """How prepared rows reach the model."""

    dataloader_num_workers: Int = key(
        0, "Processes of each rank that load rows; 0 loads in the rank.", ge=0, passed=True
    )
    dataloader_pin_memory: Flag = key(True, "Load rows into pinned memory.", passed=True)
    dataloader_drop_last: Flag = key(False, "Leave out a last batch that is not full.", passed=True)
    dataloader_persistent_workers: Flag = key(False, "Keep loading processes between epochs.", passed=True)
    dataloader_prefetch_factor: Int | None = key(None, "Batches that each process loads ahead.", gt=0, passed=True)
    dataloader_multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = key(
        None, "How loading processes start.", passed=True
    )
    dataloader_in_order: Flag = key(True, "Take batches in their order, not as they come.", passed=True)
    train_sampling_strategy: Literal["random", "sequential", "group_by_length", "batch_rebalance"] = key(
        "random", "Order of the rows.", built=False, accepts=("sequential", "group_by_length")
    )
    group_by_length: Flag = key(False, "Put rows of like length together; old way to say train_sampling_strategy.")
    length_column_name: str = key("length", "Column that holds each row's length.", passed=True)
    remove_unused_columns: Flag = key(
        False, "Without effect: prepared rows hold nothing that the model does not take.", accepts=(True,), built=False
    )
    dispatch_batches: Flag | None = key(None, "The first rank loads rows for all.", built=False)
    split_batches: Flag | None = key(None, "Batch sizes are those of all ranks together.", built=False)


class DistributionKeys(Group):
    """How ranks work together."""

    deepspeed: NameOrMapping | None = key(
        None,
        "zero0, zero2, zero3, zero2_offload, zero3_offload, a LLaMA-Factory or own JSON file, or the config itself.",
    )
    ddp_timeout: Int = key(1800, "Seconds that a rank waits for the others.", gt=0, passed=True)
    ddp_backend: Literal["nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl", "ccl"] | None = key(
        None, "Library that moves tensors between ranks.", passed=True
    )
    ddp_find_unused_parameters: Flag | None = key(None, "Look for weights that a step did not use.", passed=True)
    ddp_bucket_cap_mb: Int | None = key(None, "Gradients sent together, in MB.", gt=0, passed=True)
    ddp_broadcast_buffers: Flag | None = key(None, "Send buffers before each forward pass.", passed=True)
    ddp_static_graph: Flag | None = key(None, "Tell DDP that all steps use the same weights.", passed=True)
    local_rank: Int = key(-1, "Set by the launcher.", built=False)
    fsdp: Names = key((), "Share weights by PyTorch's FSDP.", built=False)
    fsdp_config: Mapping | None = key(None, "Settings of FSDP.", built=False)
    fsdp_min_num_params: Int = key(0, "Smallest module that FSDP wraps.", built=False)
    fsdp_transformer_layer_cls_to_wrap: str | None = key(None, "Layer class that FSDP wraps.", built=False)
    accelerator_config: Mapping | None = key(None, "Settings of Accelerate.", built=False)
    parallelism_config: Mapping | None = key(None, "Accelerate's tensor and context parallelism.", built=False)
    tp_size: Int = key(0, "Ranks that share each layer.", built=False, accepts=(1,))
    sharded_ddp: Names = key((), "FairScale's sharded DDP.", built=False)
    ray_scope: str | None = key("last", "Trials that Ray compares.", built=False)
