"""The last words of a run: complete.json on the volume, result.json for the supervisor."""

from __future__ import annotations

import datetime

from finetune_trainer import atomic, records
from finetune_trainer.context import RunContext
from finetune_trainer.distributed import World
from finetune_trainer.records import Completion, RunResult


def complete(context: RunContext, world: World, result: RunResult) -> None:
    """Write complete.json when all ranks have written what they had to."""
    world.barrier()
    if world.is_first:
        completion = Completion(
            spec_hash=context.spec_hash,
            attempt=context.attempt,
            step=result.step,
            train_loss=result.train_loss,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        atomic.write(context.state_dir / records.COMPLETION_FILE, completion.to_json())


def end(context: RunContext, result: RunResult) -> RunResult:
    """Tell this pod's supervisor how the run ended."""
    if context.run_dir is not None and context.place.local_rank == 0:
        atomic.write(context.run_dir / records.RESULT_FILE, result.to_json())
    return result
