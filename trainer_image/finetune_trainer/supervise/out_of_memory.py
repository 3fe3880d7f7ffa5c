"""What is told of a run whose memory was full: what was measured, what was estimated, and what would fit.

Only who needs it imports the sizing: process 1 of every pod stays small.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer import records
from finetune_trainer.records import Outcome, RankError, RunSpec
from finetune_trainer.supervise.memory import Group

if TYPE_CHECKING:
    from finetune_trainer.config import TrainConfig
    from finetune_trainer.sizing import Architecture, Estimate, Machine
    from finetune_trainer.sizing.fit import Plan

log = logging.getLogger(__name__)

FIRST_LINE = 240
"""Characters of an allocator's own words, which go on with advice of its own."""
_LESS = 0.9
"""Where the estimate said that it fits, a plan must take less than this share of it."""
_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Full:
    """What was measured."""

    error: RankError | None
    """Of the rank that could not get more; None: the kernel killed it, so it could not say a word."""
    group: Group


def explained(told: Outcome, full: Full, run: RunSpec, config_dir: Path) -> Outcome:
    """The outcome with short lines more; one that is about something else as it is."""
    if told.reason != records.OUT_OF_MEMORY:
        return told
    said = told.message if len(told.message) <= FIRST_LINE else f"{told.message[:FIRST_LINE]} ..."
    lines = [said, *_measured(full), *_estimated(full, run, config_dir)]
    return replace(told, message="\n".join(lines), retryable=False)


def _measured(full: Full) -> Iterator[str]:
    error, group = full.error, full.group
    if error is not None and error.peak_memory is not None:
        total = f" of its GPU's {_gib(error.gpu_memory)}" if error.gpu_memory else " of main memory"
        tensors = "" if error.allocated_memory is None else f", {_gib(error.allocated_memory)} of it in tensors"
        yield f"measured: rank {error.rank} took {_gib(error.peak_memory)}{total} at most{tensors}"
    elif group.peak is not None:
        limit = "and has no limit" if group.limit is None else f"of the {_gib(group.limit)} of resources.memory"
        yield f"measured: the pod took {_gib(group.peak)} at most, {limit}"
    elif group.limit is not None:
        yield f"measured: the pod's limit is {_gib(group.limit)} (resources.memory)"


def _estimated(full: Full, run: RunSpec, config_dir: Path) -> Iterator[str]:
    """Never fails: the run's end must be told whatever is wrong with its files."""
    try:
        yield from _sized(full, run, config_dir)
    except Exception as error:
        log.warning("no estimate beside it", exc_info=True)
        yield f"estimated: not known ({str(error).partition(chr(10))[0][:FIRST_LINE]})"


def _sized(full: Full, run: RunSpec, config_dir: Path) -> Iterator[str]:
    from finetune_trainer import config, sizing
    from finetune_trainer.sizing import Machine, facts

    cfg = config.load(config_dir / records.TRAIN_FILE, fill=False)
    model = facts.read(Path(cfg.model.model_name_or_path or ""))
    on = Machine(
        nodes=run.nodes, processes=run.processes_per_node, memory=_memory(full, run), gpu=run.gpus_per_node > 0
    )
    found = sizing.estimate(cfg, model, on)
    if on.gpu and full.error is None:
        yield _of_host(found, run)
        return
    yield f"estimated: {_gib(found.total)} a rank ({found.moment}): {_parts(found)}"
    if on.memory is not None:
        yield _instead(cfg, model, on, found)


def _memory(full: Full, run: RunSpec) -> int | None:
    """Bytes of one rank: its GPU's, or its share of the pod's."""
    if run.gpus_per_node > 0:
        return full.error.gpu_memory if full.error is not None else None
    return None if full.group.limit is None else full.group.limit // run.processes_per_node


def _parts(found: Estimate) -> str:
    from finetune_trainer.sizing.report import PARTS

    sizes = {name: getattr(found.peak, name) for name in PARTS}
    return ", ".join(f"{name} {size / _GIB:.1f}" for name, size in sizes.items() if size >= _GIB / 20)


def _of_host(found: Estimate, run: RunSpec) -> str:
    """A pod with GPUs whose main memory was full."""
    if found.host:
        each = f"{_gib(found.host)} of main memory for each of {run.processes_per_node} ranks"
        return f"estimated: what is offloaded takes {each}, beside the libraries and the data"
    return (
        "estimated: nothing of this run is offloaded to main memory; look at dataloader_num_workers, "
        "preprocessing_num_workers and the data, or raise resources.memory"
    )


def _instead(cfg: TrainConfig, model: Architecture, on: Machine, found: Estimate) -> str:
    from finetune_trainer.sizing import fit

    assert on.memory is not None
    fits = found.total <= on.memory
    plan = fit.nearest(cfg, model, replace(on, memory=int(_LESS * found.total)) if fits else on)
    if plan is None:
        return f"nothing of this model fits {_gib(on.memory)}; least takes {_plan(fit.leanest(cfg, model, on))}"
    if fits:
        return f"that should fit {_gib(on.memory)}: it is too low, or another program is there; less is {_plan(plan)}"
    return f"what would fit {_gib(on.memory)}: {_plan(plan)}"


def _plan(plan: Plan) -> str:
    changes = [f"without {key}" if value is None else f"{key}: {value}" for key, value in plan.changes.items()]
    return f"{_gib(plan.estimate.total)} with {', '.join(changes)}"


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
