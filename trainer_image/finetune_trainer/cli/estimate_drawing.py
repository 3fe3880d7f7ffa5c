"""What people see of an estimate on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table

from finetune_trainer.sizing import Architecture, Machine, Report
from finetune_trainer.sizing.machine import GIB
from finetune_trainer.sizing.report import PARTS
from finetune_trainer.sizing.words import count, gib, keys

_SAID = {
    "weights": "weights",
    "gradients": "gradients",
    "optimiser": "optimiser",
    "activations": "activations",
    "logits": "logits",
    "buffers": "communication and step",
    "overhead": "fragmentation and CUDA",
}


def draw(report: Report, model: Architecture, console: Console) -> None:
    """The parts at the fullest moment, what fits, and what to write instead."""
    for line in _head(report, model):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(_parts(report))
    if report.machine.memory is not None:
        console.print(_verdict(report, report.machine.memory), highlight=False, soft_wrap=True)
        console.print(_table(report))
        for line in _instead(report):
            console.print(line, highlight=False, soft_wrap=True)
    else:
        console.print("say --gpu-memory 80Gi to see what fits", highlight=False, soft_wrap=True)
    for note in report.estimate.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _head(report: Report, model: Architecture) -> Iterator[str]:
    found, course = report.estimate, report.course
    size = f"{count(found.parameters)} parameters, {count(found.trained)} trained"
    yield f"{model.kind}, {size}; {_on(report.machine)}"
    run = (
        f"{course.steps:,} steps, at most {count(course.tokens or 0)} tokens" if course.steps else "steps: say --rows"
    )
    yield f"global batch {course.global_batch:,} rows, at most {course.tokens_per_step:,} tokens a step; {run}"
    disk = f"; all on the disk at the end {gib(course.disk)}" if course.disk else ""
    yield f"a checkpoint takes {gib(course.checkpoint_bytes)} of disk, the result {gib(course.model_bytes)}{disk}"
    if found.host:
        yield f"each rank holds {gib(found.host)} in the node's main memory"


def _on(on: Machine) -> str:
    ranks = f"{on.processes} {'GPU' if on.gpu else 'process'}{'' if on.processes == 1 else 's' if on.gpu else 'es'}"
    each = f" of {gib(on.memory)}" if on.memory else ""
    return f"{on.nodes} node{'s' if on.nodes > 1 else ''} x {ranks}{each}"


def _parts(report: Report) -> Table:
    found = report.estimate
    table = Table(title=f"memory of one rank, most at: {found.moment}", title_justify="left")
    table.add_column("part")
    table.add_column("GiB", justify="right")
    for name in PARTS:
        table.add_row(_SAID[name], f"{getattr(found.peak, name) / GIB:.1f}")
    table.add_section()
    table.add_row("together", f"{found.total / GIB:.1f}")
    return table


def _verdict(report: Report, memory: int) -> str:
    taken = f"{gib(report.estimate.total)} of {gib(memory)}"
    checkpointing = "with" if report.estimate.checkpointing else "without"
    verdict = "fits" if report.fits else "DOES NOT FIT"
    return f"{verdict}: {taken}, {checkpointing} gradient checkpointing; {_turns(report)}"


def _turns(report: Report) -> str:
    if report.turning_length is None:
        return "any cutoff_len up to a million fits"
    if not report.turning_length:
        return "no cutoff_len would"
    return f"the longest cutoff_len that fits is {report.turning_length:,}"


def _table(report: Report) -> Table:
    ways = list(dict.fromkeys(cell.way for cell in report.table))
    table = Table(title="GiB by micro batch, with everything else as it is", title_justify="left")
    table.add_column("micro batch", justify="right")
    for way in ways:
        table.add_column(way, justify="right")
    for micro, cells in groupby(report.table, key=lambda cell: cell.micro_batch):
        drawn = {cell.way: f"[{'green' if cell.fits else 'red'}]{cell.total / GIB:.1f}[/]" for cell in cells}
        table.add_row(str(micro), *(drawn.get(way, "-") for way in ways))
    return table


def _instead(report: Report) -> Iterator[str]:
    if report.nearest is not None:
        yield f"nearest that fits, {gib(report.nearest.estimate.total)}:"
        yield from (f"  {line}" for line in keys(report.nearest.changes))
        if report.nearest.estimate.host:
            yield f"  and each rank needs {gib(report.nearest.estimate.host)} of its node's main memory"
    elif report.leanest is not None:
        yield f"nothing fits at this cutoff_len; what takes least still takes {gib(report.leanest.estimate.total)}:"
        yield from (f"  {line}" for line in keys(report.leanest.changes))
