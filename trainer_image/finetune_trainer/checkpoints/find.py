"""What lies in a folder, and which checkpoint an attempt goes on from. `choose` is pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_trainer import records
from finetune_trainer.context import RunContext
from finetune_trainer.failures import CheckpointInvalid, OutputNotEmpty
from finetune_trainer.records import CheckpointMark, Completion, Fence

_FOLDER = re.compile(r"checkpoint-(\d+)")
_STATE = "trainer_state.json"
Kind = Literal["plain", "deepspeed", "fsdp"]
_OPTIMISERS: Mapping[str, Kind] = {"optimizer.pt": "plain", "latest": "deepspeed", "optimizer_0": "fsdp"}
"""Where an optimiser's state lies: alone or DDP, DeepSpeed, FSDP."""
_ALONE, _OF_RANKS = "rng_state.pth", "rng_state_*.pth"
"""Random numbers' state, by which the ranks of a checkpoint without a mark are counted."""
_WEIGHTS = ("adapter_model.*", "model*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A folder checkpoint-N, and what can be told about it from outside."""

    path: Path
    step: int
    mark: CheckpointMark | None
    """None: torn, or not of our making."""
    kind: Kind | None
    """What its optimiser was saved by; None after save_only_model."""
    ranks: int | None
    """Ranks that wrote it; None: nothing tells."""
    opened: Fence | None = None
    """Who began to write it and has not marked it complete."""

    @property
    def has_optimizer(self) -> bool:
        """False: the weights alone would not continue the same run."""
        return self.kind is not None


def found(output_dir: Path) -> list[Checkpoint]:
    """All checkpoints under a folder, by step."""
    folders = [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
    return sorted((look_at(path) for path in folders), key=lambda checkpoint: checkpoint.step)


def look_at(path: Path) -> Checkpoint:
    """What one folder holds."""
    name = _FOLDER.fullmatch(path.name)
    mark = _mark(path / records.CHECKPOINT_MARK)
    return Checkpoint(
        path=path,
        step=int(name[1]) if name else 0,
        mark=mark,
        kind=next((kind for file, kind in _OPTIMISERS.items() if (path / file).exists()), None),
        ranks=mark.world_size if mark else _count(path),
        opened=_opened(path / records.CHECKPOINT_OPENED),
    )


def _count(path: Path) -> int | None:
    return 1 if (path / _ALONE).exists() else len(list(path.glob(_OF_RANKS))) or None


def has_weights(output_dir: Path) -> bool:
    """Whether a finished model or adapter lies in the folder itself."""
    return any(next(output_dir.glob(pattern), None) is not None for pattern in _WEIGHTS)


def resume_from(context: RunContext, said: str | bool | None) -> Path | None:  # noqa: FBT001 - as the key is typed
    """The checkpoint that this attempt goes on from; None: it starts at step 0.

    Attempt 1 follows `said` (resume_from_checkpoint: a folder, or true for the latest) and overwrite_output_dir, as
    in LLaMA-Factory. Later attempts, and pods of attempt 1 that a queue brings back, go on from the job's latest;
    without one they begin as attempt 1 did.

    Raises:
        CheckpointInvalid: the checkpoint that the user named is not one.
        OutputNotEmpty: a result without a checkpoint lies there, and it may not be overwritten.
    """
    anew = context.attempt == 1 and said is not True and (isinstance(said, str) or context.overwrite_output_dir)
    ours = _own(context) if anew else latest(context)
    if ours is not None:
        return ours.path
    if isinstance(said, str):
        return _named(Path(said))
    if context.attempt == 1 and not context.overwrite_output_dir and has_weights(context.output_dir):
        raise OutputNotEmpty(
            f"output_dir {context.output_dir} holds a finished result and no complete checkpoint to resume from: "
            "say overwrite_output_dir: true, or another output_dir"
        )
    return None


def latest(context: RunContext) -> Checkpoint | None:
    """The latest checkpoint that continues this run: the job's own, or any when nothing may be overwritten."""
    return choose(found(context.output_dir), uid=None if not context.overwrite_output_dir else context.uid)


def _own(context: RunContext) -> Checkpoint | None:
    """The job's own latest: in attempt 1 there is one only where a queue has evicted it; a run by hand has none."""
    return choose(found(context.output_dir), uid=context.uid) if context.is_job else None


def choose(checkpoints: Sequence[Checkpoint], *, uid: str | None) -> Checkpoint | None:
    """The latest complete one with its optimizer; of this uid, or of anybody for None."""
    usable = [
        checkpoint
        for checkpoint in checkpoints
        if checkpoint.mark is not None and checkpoint.has_optimizer and uid in (None, checkpoint.mark.uid)
    ]
    return max(usable, key=lambda checkpoint: checkpoint.step, default=None)


def torn(checkpoints: Sequence[Checkpoint], *, uid: str) -> list[Checkpoint]:
    """Those that an attempt of this job began and never completed; nobody else's, however they look."""
    return [one for one in checkpoints if one.mark is None and one.opened is not None and one.opened.uid == uid]


def completed(context: RunContext) -> Completion | None:
    """The completion of an earlier attempt at the same specification; a run by hand is never taken for done."""
    path = context.state_dir / records.COMPLETION_FILE
    if not context.spec_hash or not path.exists():
        return None
    completion = Completion.from_json(path.read_text(encoding="utf-8"))
    return completion if completion.spec_hash == context.spec_hash else None


def _named(path: Path) -> Path:
    """A checkpoint that the user named: another tool may have written it, so its trainer state is enough."""
    if not (path / _STATE).is_file():
        raise CheckpointInvalid(f"resume_from_checkpoint: {path} is not a checkpoint (it holds no {_STATE})")
    return path


def _mark(path: Path) -> CheckpointMark | None:
    try:
        return CheckpointMark.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _opened(path: Path) -> Fence | None:
    try:
        return Fence.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
