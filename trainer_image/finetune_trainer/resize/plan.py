"""Pure: what changes for a run that goes on with another number of ranks, or why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_trainer import deepspeed
from finetune_trainer.checkpoints import Checkpoint, Kind
from finetune_trainer.config import TrainConfig, zero
from finetune_trainer.failures import CheckpointInvalid

_KINDS: Mapping[Kind, tuple[str, str]] = {
    "deepspeed": ("DeepSpeed", "keep deepspeed"),
    "fsdp": ("FSDP", "keep fsdp"),
    "plain": ("neither DeepSpeed nor FSDP", "leave both out"),
}
"""What people are told, and what they should do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resize:
    """How a run goes on from a checkpoint that other ranks wrote, or that was itself resized."""

    path: Path
    step: int
    was: int
    """Ranks that wrote the checkpoint."""
    now: int
    accumulation: int
    """gradient_accumulation_steps from now on."""
    said: int
    """gradient_accumulation_steps in train.yaml."""
    global_batch: int
    universal: bool
    """Whether DeepSpeed has split the optimiser over the ranks, so that its parts must be put together first."""

    def words(self) -> str:
        """One line for people."""
        batch = f"the global batch stays {self.global_batch}"
        if self.accumulation != self.said:
            batch = f"gradient_accumulation_steps {self.accumulation} in place of {self.said}: {batch}"
        if self.was == self.now:
            return f"{batch}, as in {self.path.name}"
        return f"{self.path.name} was written by {_ranks(self.was)}, {_ranks(self.now)} go on; {batch}"


def plan(cfg: TrainConfig, checkpoint: Checkpoint | None, *, ranks: int) -> Resize | None:
    """How to go on; None: with as many ranks, and as train.yaml says.

    The global batch is held: schedule and place in the data are counted in steps of it. Who writes another batch into
    train.yaml and starts as many ranks as before has it so.

    Raises:
        CheckpointInvalid: the ranks can't share the global batch, or can't take over each other's parts.
    """
    if checkpoint is None or checkpoint.ranks is None:
        return None
    _check_kind(cfg, checkpoint)
    training, was, mark = cfg.training, checkpoint.ranks, checkpoint.mark
    per_rank = training.per_device_train_batch_size * training.gradient_accumulation_steps
    same_words = mark is None or mark.rows_per_rank in (None, per_rank)
    if was == ranks and not same_words:
        return None
    whole = (mark and mark.global_batch) or per_rank * was
    if was == ranks and whole == per_rank * ranks:
        return None
    split = zero.stage(training.deepspeed) > 0
    resize = Resize(
        path=checkpoint.path,
        step=checkpoint.step,
        was=was,
        now=ranks,
        accumulation=_accumulation(cfg, checkpoint, whole, ranks),
        said=training.gradient_accumulation_steps,
        global_batch=whole,
        universal=split and was != ranks,
    )
    _check(cfg, resize)
    return resize


def adapted(cfg: TrainConfig, resize: Resize | None) -> TrainConfig:
    """The configuration of a run that goes on so."""
    if resize is None:
        return cfg
    training = cfg.training.model_copy(update={"gradient_accumulation_steps": resize.accumulation})
    changed = cfg.model_copy(update={"training": training})
    config = deepspeed.resolve(changed, world_size=resize.now)
    if config is None:
        return changed
    config |= _whole_numbers(config, resize)
    if resize.universal:
        config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
    return cfg.model_copy(update={"training": training.model_copy(update={"deepspeed": config})})


def _whole_numbers(config: Mapping[str, Any], resize: Resize) -> dict[str, int]:
    """What a config states about batches, for the ranks that there are now; "auto" stays."""
    now = {"train_batch_size": resize.global_batch, "gradient_accumulation_steps": resize.accumulation}
    return {key: value for key, value in now.items() if isinstance(config.get(key), int)}


def _accumulation(cfg: TrainConfig, checkpoint: Checkpoint, whole: int, ranks: int) -> int:
    size = cfg.training.per_device_train_batch_size
    if whole % (size * ranks) == 0:
        return whole // (size * ranks)
    fitting = [one for one in range(1, whole + 1) if whole % (one * size) == 0]
    smaller = [one for one in range(1, size) if whole % (one * ranks) == 0]
    instead = f"write per_device_train_batch_size: {smaller[-1]}, or " if smaller else ""
    raise CheckpointInvalid(
        f"{checkpoint.path.name} was written by {_ranks(checkpoint.ranks or 0)} with a global batch of {whole}, and "
        f"{_ranks(ranks)} with per_device_train_batch_size {size} can't make steps of {whole} rows: {instead}"
        f"start {_listed(fitting)} ranks"
    )


def _check(cfg: TrainConfig, resize: Resize) -> None:
    training, back = cfg.training, f"go on with {_ranks(resize.was)}"
    if training.fsdp and resize.was != resize.now:
        raise CheckpointInvalid(
            f"fsdp: {_ranks(resize.now)} can't go on from {resize.path.name}, which {_ranks(resize.was)} wrote: "
            f"{back}; a run with deepspeed: zero3 can"
        )
    if training.dataloader_drop_last and resize.was != resize.now:
        raise CheckpointInvalid(
            f"dataloader_drop_last: {_ranks(resize.now)} would drop other rows at an epoch's end than the "
            f"{_ranks(resize.was)} that wrote {resize.path.name}: {back}"
        )
    if zero.stage(training.deepspeed) > 0 and training.load_best_model_at_end:
        raise CheckpointInvalid(
            f"load_best_model_at_end: the best checkpoint may be one of {_ranks(resize.was)}, which "
            f"{_ranks(resize.now)} can't load at the end: write load_best_model_at_end: false, or {back}"
        )
    if resize.universal:
        _check_config(training.deepspeed, back)


def _check_config(said: str | Mapping[str, Any] | None, back: str) -> None:
    section = said.get("zero_optimization") if isinstance(said, Mapping) else None
    if not isinstance(section, Mapping):
        return
    for key in ("offload_optimizer", "offload_param"):
        device = section.get(key)
        if isinstance(device, Mapping) and device.get("device") == "nvme":
            raise CheckpointInvalid(
                f"deepspeed: {key} on nvme: a node's disk holds parts that the checkpoint lacks, so that another "
                f"number of ranks can't go on: {back}, and move to device cpu in a new run"
            )
    if int(section.get("mics_shard_size") or 0) > 0:
        raise CheckpointInvalid(f"deepspeed: mics_shard_size: universal checkpoints don't know MiCS' groups: {back}")


def _check_kind(cfg: TrainConfig, checkpoint: Checkpoint) -> None:
    """Who takes DeepSpeed away between two attempts would begin with an empty optimiser, and not be told."""
    now: Kind = "deepspeed" if cfg.training.deepspeed else "fsdp" if cfg.training.fsdp else "plain"
    if checkpoint.kind is not None and checkpoint.kind != now:
        was, instead = _KINDS[checkpoint.kind]
        raise CheckpointInvalid(
            f"{checkpoint.path.name} was written with {was} and this run has {_KINDS[now][0]}, which can't read its "
            f"optimiser: {instead} as it was, for one rank, too"
        )


def _ranks(number: int) -> str:
    return f"{number} rank{'' if number == 1 else 's'}"


def _listed(numbers: list[int]) -> str:
    shown = [str(number) for number in numbers[-6:]]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
