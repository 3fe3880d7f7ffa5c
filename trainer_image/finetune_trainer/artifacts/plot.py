"""training_loss.png and its sisters: the curves, as they are and smoothed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CURVES = {
    "loss": "Training loss",
    "reward": "Mean reward of the answers",
    "rewards/accuracies": "Pairs in which the chosen answer is preferred",
    "rewards/chosen": "Reward of the chosen answers",
}
"""What is drawn of training, under LLaMA-Factory's names; of evaluation, every loss and every accuracy."""
_ENOUGH = 20
"""Points from which on a smoothed curve says more than the points themselves."""
_RAW, _SMOOTH, _GRID, _INK = "#9fb8d3", "#1f5a96", "#e6e6e6", "#333333"


def draw(history: Sequence[Mapping[str, Any]], output_dir: Path) -> list[Path]:
    """Draw every curve of the log history, also one of a single point; returns the pictures' paths."""
    pictures = []
    for key in dict.fromkeys(key for entry in history for key in entry):
        title = _title(key)
        if title:
            points = [(int(entry["step"]), float(entry[key])) for entry in history if key in entry]
            pictures.append(output_dir / f"training_{key.replace('/', '_')}.png")
            _draw(points, title, pictures[-1])
    return pictures


def _title(key: str) -> str:
    """What the curve shows; empty: it is not drawn."""
    for ending, words in (("loss", "loss"), ("accuracy", "accuracy")):
        if key.startswith("eval_") and key.endswith(f"_{ending}"):
            name = key.removeprefix("eval_").removesuffix(ending).strip("_")
            return f"Evaluation {words}" + (f", {name}" if name else "")
    return CURVES.get(key, "")


def smooth(values: Sequence[float]) -> list[float]:
    """Gaussian mean over about a twentieth of the curve to either side, so that it does not lag behind."""
    width = max(1.0, len(values) / 40)
    reach = range(-round(3 * width), round(3 * width) + 1)
    bell = {offset: math.exp(-0.5 * (offset / width) ** 2) for offset in reach}
    return [_weighted(values, at, bell) for at in range(len(values))]


def _weighted(values: Sequence[float], at: int, bell: Mapping[int, float]) -> float:
    """The mean around one place; at the steep beginning the window shrinks on both sides, so that it never leans."""
    near = {offset: weight for offset, weight in bell.items() if abs(offset) <= at and at + offset < len(values)}
    return sum(weight * values[at + offset] for offset, weight in near.items()) / sum(near.values())


def _draw(points: Sequence[tuple[int, float]], title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps, losses = [step for step, _ in points], [loss for _, loss in points]
    smoothed = smooth(losses) if len(losses) >= _ENOUGH else losses
    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        steps,
        losses,
        color=_RAW,
        linewidth=1.2,
        marker="o" if len(steps) < _ENOUGH else "",
        markersize=3,
        label="each logged step",
    )
    if len(steps) >= _ENOUGH:
        axes.plot(steps, smoothed, color=_SMOOTH, linewidth=2.2, label="smoothed")
    axes.scatter(steps[-1:], smoothed[-1:], color=_SMOOTH, s=28, zorder=3)
    axes.annotate(
        f"{smoothed[-1]:.3f}", (steps[-1], smoothed[-1]), xytext=(6, 6), textcoords="offset points", color=_SMOOTH
    )
    axes.set_title(title, loc="left", fontsize=13, color=_INK, pad=12)
    axes.set_xlabel("step", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.legend(frameon=False, labelcolor=_INK)
    figure.savefig(path)
