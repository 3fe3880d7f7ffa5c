"""What people see: a progress bar on a terminal, plain lines in a pod's log."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from finetune_trainer import records

_TELLING = {
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "accuracy": "accuracy",
    "margin": "margin",
    "reward": "reward",
    "kl": "kl",
}
"""What the methods tell that shows whether they work -> its word on the screen."""


class Screen(Protocol):
    """Where rank 0 speaks."""

    def say(self, text: str) -> None:
        """One line."""

    def step(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """A step has ended."""

    def logged(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """A step with fresh figures has ended."""

    def close(self) -> None:
        """Training has ended."""


def of_rank(*, is_first: bool, plain: bool) -> Screen:
    """A bar for people at a terminal, lines for a log or where they are asked for, silence for other ranks."""
    if not is_first:
        return Silence()
    return Bar() if sys.stdout.isatty() and not plain else Lines()


class Silence:
    """Ranks that are not the first."""

    def say(self, text: str) -> None:
        """Nothing."""

    def step(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """Nothing."""

    def logged(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """One line per logged step, readable by eye and by grep."""

    def say(self, text: str) -> None:
        """One line, at once: a pod's log is not a terminal."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def step(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """Nothing: lines come with fresh figures only."""

    def logged(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """The figures of one logged step."""
        self.say(
            "  ".join(
                (f"step {progress.step}/{progress.total_steps} ({progress.percentage} %)", *figures(progress, told))
            )
        )

    def close(self) -> None:
        """Nothing to put away."""


class Bar:
    """A bar with loss, speed and time left."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._bar = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=self._console,
        )
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """One line, above the bar when it stands."""
        self._console.print(text)

    def step(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """Move the bar."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("train", total=progress.total_steps, figures="")
        self._bar.update(self._task, completed=progress.step, figures="  ".join(figures(progress, told)))

    def logged(self, progress: records.Progress, told: Sequence[str] = ()) -> None:
        """The same: the figures are in the bar."""
        self.step(progress, told)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def figures(progress: records.Progress, told: Sequence[str] = ()) -> list[str]:
    """Loss, what the method tells, learning rate, speed and time left, in words; what is not known yet is left out."""
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    parts += told
    if progress.learning_rate is not None:
        parts.append(f"lr {progress.learning_rate:.2e}")
    if progress.tokens_per_second is not None:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.mfu is not None:
        parts.append(f"MFU {progress.mfu:.0%}")
    if progress.remaining_seconds is not None:
        parts.append(f"{duration(progress.remaining_seconds)} left")
    return parts


def telling(logs: Mapping[str, Any]) -> list[str]:
    """Of what a method logs beside the loss, what people look at: accuracy, margin, reward, kl."""
    return [f"{word} {float(logs[name]):.3f}" for name, word in _TELLING.items() if name in logs]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
