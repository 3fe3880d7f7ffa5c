"""What people see of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

from finetune_trainer.records import Progress


class Display:
    """Says sentences and shows progress; on a terminal the bar stays below the sentences."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: Progress | None = None
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, figures="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def say(self, text: str) -> None:
        """One sentence; brackets in it are no markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, progress: Progress | None) -> None:
        """What rank 0 wrote last, if it is news."""
        if progress is None or progress == self._last:
            return
        news = self._last is None or (progress.phase, progress.loss) != (self._last.phase, self._last.loss)
        self._last = progress
        total = progress.total_steps or None
        self._bar.update(
            self._task, description=progress.phase, completed=progress.step, total=total, figures=figures(progress)
        )
        if news and not self._console.is_terminal:
            self.say(line(progress))


def line(progress: Progress) -> str:
    """`training, step 5 of 69, loss 1.234, 512 tokens/s, 0:01:20 left`."""
    where = (
        f"{progress.phase}, step {progress.step} of {progress.total_steps}" if progress.total_steps else progress.phase
    )
    said = figures(progress)
    return f"{where}, {said}" if said else where


def figures(progress: Progress) -> str:
    """Loss, speed and time left, as far as they are known."""
    said = []
    if progress.loss is not None:
        said.append(f"loss {progress.loss:.4g}")
    if progress.tokens_per_second is not None:
        said.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.remaining_seconds is not None:
        said.append(f"{timedelta(seconds=progress.remaining_seconds)} left")
    return ", ".join(said)
