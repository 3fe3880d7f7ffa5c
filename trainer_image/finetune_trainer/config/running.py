"""Hugging Face's TrainingArguments, second half: what is logged, evaluated, saved, loaded and distributed.

Keys marked `passed` go to transformers as they are; `hf.py` translates the others that have an effect.
"""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Mapping, NameOrMapping, Names

_HUB = (
    "a run writes to output_dir and pushes nothing; when it is done: hf upload ORG/NAME output_dir (which asks for "
    "HF_TOKEN, and takes --private and --revision)"
)
LogLevel = Literal["detail", "debug", "info", "warning", "error", "critical", "passive"]


class LoggingKeys(Group):
    """What a run says while it goes."""

    logging_strategy: Literal["no", "steps", "epoch"] = key("steps", "When losses are logged.", passed=True)
    logging_steps: Float = key(
        500, "Steps between two logged losses, or below 1 a share of all steps.", gt=0, passed=True
    )
    logging_first_step: Flag = key(False, "Log the first step too.", passed=True)
    logging_dir: str | None = key(None, "Folder of TensorBoard's files; runs/ under output_dir unless said.")
    logging_nan_inf_filter: Flag = key(
        False,
        "Show the running mean where a loss is not a number.",
        passed=True,
        refused="a loss that is not a number ends the run, so there is none to hide; leave it out",
    )
    log_level: LogLevel = key("passive", "How much the first rank logs.", passed=True)
    log_level_replica: LogLevel = key("warning", "How much the other ranks log.", passed=True)
    log_on_each_node: Flag = key(True, "One rank of each node logs, not one of the job.", passed=True)
    disable_tqdm: Flag | None = key(
        None,
        "No bar: plain lines on a terminal too, as in a pod's log.",
        refused="transformers' own bar is never drawn: a terminal shows ours, with loss and time left; leave it out",
        accepts=(True,),
        passed=True,
    )
    report_to: Names = key(
        ("none",), "Trackers that get the metrics: tensorboard, wandb, mlflow, trackio, swanlab, all, none."
    )
    run_name: str | None = key(None, "Name of the run at trackers.", passed=True)
    project: str = key("huggingface", "Project at Trackio.", passed=True)
    trackio_space_id: str | None = key(None, "Space that shows Trackio's results.", passed=True)
    trackio_bucket_id: str | None = key(None, "Bucket that keeps Trackio's results.", passed=True)
    trackio_static_space_id: str | Flag | None = key(
        None, "Static space of Trackio's results; false: none.", passed=True
    )
    include_num_input_tokens_seen: Flag | Literal["no", "all", "non_padding"] = key(
        "no", "Log how many tokens the model has seen: all, or without padding."
    )
    include_tokens_per_second: Flag = key(False, "Report the run's tokens a second in train_results.json.")
    skip_memory_metrics: Flag = key(True, "Leave memory out of the metrics, which is faster.", passed=True)
    debug: Names = key(
        (),
        "Only underflow_overflow: stop at the first activation that is not a number, and show the layers before it.",
    )


class EvaluationKeys(Group):
    """When and how a run is evaluated."""

    do_train: Flag = key(True, "Train; true unless said (LLaMA-Factory's default is false).", passed=True)
    do_eval: Flag = key(False, "Evaluate at the end.", passed=True)
    do_predict: Flag = key(False, "Generate an answer to each row held out, at the end; stage sft.")
    eval_strategy: Literal["no", "steps", "epoch"] = key("no", "When to evaluate.", passed=True)
    eval_steps: Float | None = key(
        None,
        "Steps between evaluations, or below 1 a share of all steps; logging_steps unless said.",
        gt=0,
        passed=True,
    )
    eval_delay: Float = key(0, "Steps or epochs before the first evaluation.", ge=0, passed=True)
    eval_on_start: Flag = key(False, "Evaluate before the first step.", passed=True)
    prediction_loss_only: Flag = key(False, "Tell nothing but the loss when evaluating.", passed=True)
    eval_accumulation_steps: Int | None = key(
        None,
        "Batches of predictions gathered on the GPU before they are moved to the CPU.",
        refused="predictions are counted batch by batch and never gathered, so none fill the GPU; leave it out",
    )
    eval_do_concat_batches: Flag = key(
        True,
        "Join predictions of all batches.",
        refused="predictions are counted batch by batch and never joined; leave it out",
    )
    eval_use_gather_object: Flag = key(
        False,
        "Gather objects instead of tensors when evaluating.",
        refused="ranks exchange sums and counts, not predictions; leave it out",
    )
    include_for_metrics: Names = key(
        (), "What metrics get beside predictions.", refused="there is no code of yours that could get it; leave it out"
    )
    include_inputs_for_metrics: Flag = key(
        False,
        "Metrics get the inputs too.",
        refused="there is no code of yours that could get them; leave it out",
    )
    batch_eval_metrics: Flag = key(False, "Metrics are counted batch by batch, said or not.")
    label_names: Names = key(
        (),
        "Inputs that are labels.",
        refused="the stage knows which columns are labels; leave it out, or write labels",
        accepts=(("labels",),),
    )
    use_legacy_prediction_loop: Flag = key(
        False,
        "Transformers' old evaluation loop.",
        refused="evaluation counts every row once over all ranks, which the old loop does not; leave it out",
    )
    sortish_sampler: Flag = key(
        False,
        "Rows roughly by length.",
        refused="transformers itself never reads it; write group_by_length: true",
    )
    predict_with_generate: Flag = key(
        False, "Evaluate and predict by generating answers, scored by BLEU and ROUGE, in place of the loss; stage sft."
    )
    generation_max_length: Int | None = key(
        None, "Most tokens of prompt and answer when generating; max_new_tokens unless said.", gt=0
    )
    generation_num_beams: Int | None = key(None, "Beams when evaluating and predicting; as eval_num_beams.", gt=0)
    generation_config: str | None = key(
        None,
        "Generation settings, by hub id or folder.",
        refused="write the settings themselves: do_sample, temperature, top_p, top_k, max_new_tokens, ...",
    )


class SavingKeys(Group):
    """What is kept, and where."""

    output_dir: str | None = key(None, "Folder for all that the run writes.")
    save_strategy: Literal["no", "steps", "epoch", "best"] = key(
        "steps", "When to save a checkpoint; best: when an evaluation was better than all before.", passed=True
    )
    save_steps: Float = key(500, "Steps between checkpoints, or below 1 a share of all steps.", gt=0, passed=True)
    save_total_limit: Int | None = key(None, "Newest checkpoints to keep; all unless said.", gt=0, passed=True)
    save_only_model: Flag = key(False, "Leave optimiser and schedule out: a checkpoint can't be resumed.", passed=True)
    save_safetensors: Flag = key(
        True,
        "Save weights as safetensors.",
        refused="weights are always saved as safetensors: .bin files can run code when they are loaded; leave it out",
    )
    save_on_each_node: Flag = key(
        False,
        "Save on each node's own disk.",
        refused="checkpoints lie once, on a volume that all nodes see, so that each can go on from them; leave it out",
    )
    enable_jit_checkpoint: Flag = key(False, "A checkpoint when the pod is told to stop: always written, said or not.")
    load_best_model_at_end: Flag = key(False, "Take the best checkpoint as the result.", passed=True)
    metric_for_best_model: str | None = key(
        None, "What makes a checkpoint the best: a metric of the evaluation; the loss unless said.", passed=True
    )
    greater_is_better: Flag | None = key(
        None, "Whether that metric should be high; of losses and perplexities low unless said."
    )
    resume_from_checkpoint: str | Flag | None = key(
        None, "Checkpoint folder to go on from, true for the newest; the newest, too, without overwrite_output_dir."
    )
    ignore_data_skip: Flag = key(False, "Resume with the data's first rows instead of the next.", passed=True)
    restore_callback_states_from_checkpoint: Flag = key(
        False,
        "Resume callbacks too.",
        refused="nothing is lost without it: what a run counts goes on from its checkpoint as it is; leave it out",
    )
    push_to_hub: Flag = key(False, "Push the model to a hub.", refused=_HUB)
    push_to_hub_organization: str | None = key(None, "Organisation to push to.", refused=_HUB)
    hub_token: str | None = key(None, "Token for Hugging Face; refused, secrets go elsewhere.", kept_in="HF_TOKEN")
    hub_private_repo: Flag | None = key(
        None, "Make the repository private that Trackio's space or a push creates.", refused=_HUB
    )
    hub_model_id: str | None = key(None, "Repository to push to.", refused=_HUB)
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = key(
        "every_save", "When to push.", refused=_HUB
    )
    hub_always_push: Flag = key(False, "Push even while the last push is under way.", refused=_HUB)
    hub_revision: str | None = key(None, "Branch to push to.", refused=_HUB)


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
    dataloader_in_order: Flag = key(
        True,
        "Take batches in their order, not as they come.",
        refused="batches out of their order would make each run another one, and a resumed one wrong; leave it out",
    )
    train_sampling_strategy: Literal["random", "sequential", "group_by_length", "batch_rebalance"] = key(
        "random",
        "Order of the rows.",
        accepts=("sequential", "group_by_length"),
        refused="not supported, the loss is weighed by tokens without it; write group_by_length: true",
    )
    group_by_length: Flag = key(False, "Put rows of like length together; old way to say train_sampling_strategy.")
    length_column_name: str = key(
        "length",
        "Column that holds each row's length.",
        refused="lengths are counted from the tokens themselves; leave it out",
    )
    remove_unused_columns: Flag = key(
        False, "Without effect: prepared rows hold nothing that the model does not take.", accepts=(True,)
    )
    dispatch_batches: Flag | None = key(
        None,
        "The first rank loads rows for all.",
        refused="each rank reads its own rows, none sends them; leave it out",
    )
    split_batches: Flag | None = key(
        None,
        "Batch sizes are those of all ranks together.",
        refused="per_device_train_batch_size is each rank's own; divide it by the number of ranks instead",
    )


class DistributionKeys(Group):
    """How ranks work together."""

    deepspeed: NameOrMapping | None = key(
        None,
        "zero0 to zero3, zero2_offload, zero3_offload, a LLaMA-Factory or own JSON file, or the config itself.",
    )
    ddp_timeout: Int = key(1800, "Seconds that a rank waits for the others.", gt=0, passed=True)
    ddp_backend: Literal["nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl", "ccl"] | None = key(
        None,
        "Library that moves tensors between ranks: nccl on GPUs, gloo on CPUs.",
        refused="nccl is taken on NVIDIA's GPUs and gloo on CPUs, other devices are not supported; leave it out",
        accepts=("nccl", "gloo"),
        passed=True,
    )
    ddp_find_unused_parameters: Flag | None = key(None, "Look for weights that a step did not use.", passed=True)
    ddp_bucket_cap_mb: Int | None = key(None, "Gradients sent together, in MB.", gt=0, passed=True)
    ddp_broadcast_buffers: Flag | None = key(None, "Send buffers before each forward pass.", passed=True)
    ddp_static_graph: Flag | None = key(None, "Tell DDP that all steps use the same weights.", passed=True)
    local_rank: Int = key(
        -1, "Set by the launcher.", refused="the launcher says it in the variable LOCAL_RANK; leave it out"
    )
    fsdp: Names = key((), "Share weights by PyTorch's FSDP2: full_shard or shard_grad_op, with offload.")
    fsdp_config: Mapping | None = key(None, "Settings of FSDP2, as transformers or accelerate's files call them.")
    fsdp_min_num_params: Int = key(0, "Smallest module that FSDP wraps.")
    fsdp_transformer_layer_cls_to_wrap: str | None = key(None, "Layer class that FSDP wraps.")
    accelerator_config: Mapping | None = key(
        None,
        "Settings of Accelerate.",
        refused="rows are dealt out by our own order, not by Accelerate; leave it out",
    )
    parallelism_config: Mapping | None = key(
        None,
        "Accelerate's tensor and context parallelism.",
        refused="tensor and context parallelism are not supported; deepspeed: zero3 or fsdp: full_shard share weights",
    )
    tp_size: Int = key(
        0,
        "Ranks that share each layer.",
        refused="tensor parallelism is not supported; write deepspeed: zero3 to share the weights between ranks",
        accepts=(1,),
    )
    sharded_ddp: Names = key(
        (),
        "FairScale's sharded DDP.",
        refused="FairScale is gone; write deepspeed: zero2 or zero3, or fsdp: full_shard",
    )
    ray_scope: str | None = key(
        "last",
        "Trials that Ray compares.",
        refused="Ray searches for hyperparameters with it, which is not supported; leave it out",
    )
