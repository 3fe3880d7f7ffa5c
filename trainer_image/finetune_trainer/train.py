"""The whole run on one screen: from a checked configuration to artifacts, the same on every rank."""

from __future__ import annotations

import datetime
import functools
import socket
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from transformers import TrainerCallback
from transformers.trainer_pt_utils import get_model_param_count

from finetune_trainer import (
    allocator,
    artifacts,
    checkpoints,
    config,
    distributed,
    failures,
    imports,
    memory,
    model,
    network,
    optimisers,
    profilers,
    quiet,
    recorder,
    resize,
    stages,
    trackers,
    trained_data,
)
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.collate import places, tokens
from finetune_trainer.config import TrainConfig
from finetune_trainer.context import RunContext
from finetune_trainer.data import Stream
from finetune_trainer.distributed import World
from finetune_trainer.model.status import parameters
from finetune_trainer.model.tuning import pissa
from finetune_trainer.progress import Reporter, utilisation
from finetune_trainer.records import RunResult
from finetune_trainer.saving import Saver
from finetune_trainer.stages import GlobalTrainer
from finetune_trainer.stopping import Stopping


def train(cfg: TrainConfig, context: RunContext) -> RunResult:
    """Run one fine-tuning as this rank of it; returns when it is complete or was asked to stop.

    Raises:
        SystemExit: with code 1, when the run failed; the reason is printed and in error-<rank>.json.
    """
    with failures.told(context, used=memory.used), recorder.answering(context):
        quiet.hush()
        world = _join(cfg, context)
        reporter = Reporter(context, world, bar=not cfg.training.disable_tqdm)
        network.probe(world, socket.gethostname(), ranks_of_node=context.place.local_world_size, say=reporter.say)
        done = world.gather(checkpoints.completed(context))[0]
        if done is not None:
            result = RunResult(result="succeeded", step=done.step, train_loss=done.train_loss)
        else:
            result = _run(cfg, context, world, reporter)
        reporter.say(_closing(result, context))
        distributed.leave(world)
        return artifacts.end(context, result)


def _run(cfg: TrainConfig, context: RunContext, world: World, reporter: Reporter) -> RunResult:
    trackers.require(cfg)
    resume, resized = _resume_from(cfg, context, world) if cfg.training.do_train else (None, None)
    keeper = _keeper(cfg, context, world, resized)
    free = functools.partial(memory.free, torch.device("cpu"), sharers=context.place.local_world_size)
    saver = Saver(keeper, free=free, kept=reporter.checkpoint)
    stopping = Stopping(context, world, saver)
    keeper.claim()
    cfg = resize.begin(cfg, resized, keeper, reporter.say)
    trainer = _build(cfg, context, saver, reporter, stopping)
    _measure(cfg, trainer, world, reporter)
    reporter.say(_summary(cfg, trainer, world, resume))
    if not context.is_job:
        stopping.listen()
    result = RunResult(result="succeeded", step=0)
    metrics: dict[str, float] = {}
    if cfg.training.do_train:
        trainer.add_callback(_Settling())
        if resized is not None:
            trainer.add_callback(resize.Resumed(resized, trainer))
        outcome = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        reporter.phase("saving")
        saver.finish()
        if stopping.stopped:
            trackers.finish(trainer.callback_handler.callbacks)
            return RunResult(result="stopped", step=outcome.global_step, checkpoint_step=outcome.global_step)
        artifacts.save_trained(trainer, outcome.metrics)
        if world.is_first:
            pissa.finish(cfg, context.output_dir)
        metrics |= outcome.metrics
        result = RunResult(
            result="succeeded",
            step=outcome.global_step,
            checkpoint_step=keeper.last_step,
            train_loss=outcome.metrics["train_loss"],
        )
    else:
        imports.settle()
    metrics |= artifacts.evaluate(trainer)
    if cfg.training.do_predict:
        metrics |= _predict(cfg, trainer, world)
    if cfg.training.do_train:
        _describe(cfg, trainer, world, metrics)
    trackers.finish(trainer.callback_handler.callbacks)
    artifacts.complete(context, world, result)
    return result


def _measure(cfg: TrainConfig, trainer: GlobalTrainer, world: World, reporter: Reporter) -> None:
    """From now on progress tells how well the hardware is used."""
    gpus = world.gather(memory.gpu(trainer.args.device))
    described = cast("transformers.PretrainedConfig", cast("Any", trainer.model).config).to_dict()
    reporter.measure(utilisation.of(cfg, described, gpus), lambda: trainer.peak_memory)


class _Settling(TrainerCallback):
    """Ends the haste of the imports after accelerate's own collection of garbage, or there were two: half a second."""

    def on_train_begin(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: transformers.TrainerState,  # noqa: ARG002 - transformers passes it
        control: transformers.TrainerControl,  # noqa: ARG002 - transformers passes it
        **kwargs: Any,  # noqa: ANN401, ARG002 - transformers passes it
    ) -> None:
        """Before the first step."""
        imports.settle()


def _patience(cfg: TrainConfig) -> list[transformers.TrainerCallback]:
    steps = cfg.finetuning.early_stopping_steps
    return [] if steps is None else [stages.Patience(early_stopping_patience=steps)]


def _predict(cfg: TrainConfig, trainer: GlobalTrainer, world: World) -> dict[str, float]:
    from finetune_trainer.stages.answering import AnsweringTrainer

    assert isinstance(trainer, AnsweringTrainer), "the rules let do_predict by with predict_with_generate alone"
    rows, metrics = trainer.predictions(skip_special_tokens=cfg.generating.skip_special_tokens)
    artifacts.save_predictions(trainer, rows, metrics, world)
    return metrics


def _describe(cfg: TrainConfig, trainer: GlobalTrainer, world: World, metrics: dict[str, float]) -> None:
    """What people read about the run: state, curves, the model's card."""
    report = trained_data.final_report(trainer.data)
    if world.is_first and isinstance(trainer.rows, Stream):
        artifacts.save_data_report(report, Path(str(trainer.args.output_dir)))
    artifacts.describe(trainer, cfg, world, metrics=metrics, notes=report.notes)


def _build(
    cfg: TrainConfig, context: RunContext, saver: Saver, reporter: Reporter, stopping: Stopping
) -> GlobalTrainer:
    world = saver.world
    reporter.phase("data")
    tokenizer = model.load_tokenizer(cfg)
    prepared = trained_data.prepare(cfg, context, world, reporter, tokenizer)
    reporter.phase("model")
    args = stages.arguments(cfg, context)  # before the model: under ZeRO-3 it is loaded in shards
    optimisers.check(cfg, args)
    transformers.set_seed(args.seed)  # an adapter begins alike on all ranks
    parts = stages.Parts(
        model=model.load(
            cfg,
            tokenizer,
            device=args.device,
            memory=functools.partial(memory.free, args.device, sharers=context.place.local_world_size),
        ),
        tokenizer=tokenizer,
        data=prepared,
        arguments=args,
        world=world,
        saver=saver,
        callbacks=[
            *_watchers(cfg, context, world, reporter),
            stopping,
            *optimisers.callbacks(cfg),
            *_patience(cfg),
            *pissa.callbacks(cfg, context.output_dir),
        ],
        optimiser=functools.partial(optimisers.build, cfg, args),
        device=args.device,
        counts=places if cfg.training.include_num_input_tokens_seen in (True, "all") else tokens,
        tells_tokens=cfg.training.include_num_input_tokens_seen not in (False, "no"),
    )
    if args.device.type == "cpu" and not model.is_spared(parts.model):
        allocator.keep_freed()
    _tell_model(cfg, parts, reporter)
    return stages.build(cfg, parts)


def _tell_model(cfg: TrainConfig, parts: stages.Parts, reporter: Reporter) -> None:
    chosen = cfg.training.do_train and not cfg.model.disable_gradient_checkpointing
    if chosen and not model.is_spared(parts.model):
        reporter.say("activations are kept: there is room for them; disable_gradient_checkpointing: false spares them")
    for line in parameters(parts.model) if cfg.model.print_param_status else ():
        reporter.say(line)


def _watchers(cfg: TrainConfig, context: RunContext, world: World, reporter: Reporter) -> list[TrainerCallback]:
    """Who looks on: people's log and screen, profilers on every rank, trackers on the first."""
    return [
        reporter,
        artifacts.TrainerLog(context.output_dir, reporter),
        artifacts.Throughput(cfg, ranks=world.size),
        *profilers.build(cfg, output_dir=context.output_dir, rank=world.rank),
        *([artifacts.ZeroConfig(context.output_dir), *trackers.build(cfg, context)] if world.is_first else []),
    ]


def _join(cfg: TrainConfig, context: RunContext) -> World:
    return distributed.join(
        context,
        use_cpu=cfg.training.use_cpu,
        deepspeed=bool(cfg.training.deepspeed),
        timeout=datetime.timedelta(seconds=cfg.training.ddp_timeout),
        keys=config.alike(cfg),
    )


def _resume_from(cfg: TrainConfig, context: RunContext, world: World) -> tuple[Path | None, resize.Resize | None]:
    """Rank 0's view of the volume decides for all."""
    chosen = checkpoints.resume_from(context, cfg.training.resume_from_checkpoint)
    found = None if chosen is None else checkpoints.look_at(chosen)
    first: checkpoints.Checkpoint | None = world.gather(found)[0]
    return (None if first is None else first.path), resize.plan(cfg, first, ranks=world.size)


def _keeper(cfg: TrainConfig, context: RunContext, world: World, resized: resize.Resize | None) -> Keeper:
    per_rank = cfg.training.per_device_train_batch_size * cfg.training.gradient_accumulation_steps
    return Keeper(
        context=context,
        world=world,
        limit=cfg.training.save_total_limit,
        rows_per_rank=per_rank,
        global_batch=per_rank * world.size if resized is None else resized.global_batch,
    )


def _summary(cfg: TrainConfig, trainer: GlobalTrainer, world: World, resume: Path | None) -> str:
    args = trainer.args
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * world.size
    rows = "streamed rows" if isinstance(trainer.rows, Stream) else f"{len(trainer.rows):,} rows"
    trained = get_model_param_count(trainer.model, trainable_only=True)  # type: ignore[no-untyped-call]
    name = f"{cfg.training.run_name}: " if cfg.training.run_name else ""
    goes_on = f", goes on from {resume.name}" if resume else ""
    if not cfg.training.do_train:
        return f"{cfg.finetuning.stage} {cfg.finetuning.finetuning_type}: nothing is trained, on {world.size} ranks"
    return (
        f"{name}{cfg.finetuning.stage} {cfg.finetuning.finetuning_type}: {rows}, "
        f"global batch {batch} on {world.size} rank{'s' if world.size > 1 else ''}, "
        f"{trained:,} trained parameters{goes_on}"
    )


def _closing(result: RunResult, context: RunContext) -> str:
    if result.result == "stopped":
        return f"stopped at step {result.step}; the next run goes on from checkpoint-{result.checkpoint_step}"
    loss = "" if result.train_loss is None else f", mean loss {result.train_loss:.4f}"
    return f"done: {result.step} steps{loss}; the result is in {context.output_dir}"
