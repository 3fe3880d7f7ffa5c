"""What a finished run leaves: weights, tokenizer, results, curves and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from transformers import PretrainedConfig, Trainer

from finetune_trainer import atomic
from finetune_trainer.artifacts import card, plot
from finetune_trainer.artifacts.throughput import with_speeds
from finetune_trainer.config import TrainConfig
from finetune_trainer.data import DataReport
from finetune_trainer.distributed import World


def save_data_report(report: DataReport, output_dir: Path) -> None:
    """Write data_report.json; it is there before training starts, because it may tell that training is pointless."""
    atomic.write(output_dir / "data_report.json", json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n")


def save_trained(trainer: Trainer, metrics: Mapping[str, Any]) -> None:
    """Write the weights and the training's results.

    Every rank takes part: under ZeRO-3 the weights are gathered from all.
    """
    assert trainer.model is not None
    config = cast("PretrainedConfig", trainer.model.config)
    config.use_cache = True  # it was off for training; who loads the result wants to generate
    trainer.save_model()
    trainer.save_metrics("train", with_speeds(trainer, metrics))


def evaluate(trainer: Trainer) -> dict[str, Any]:
    """Evaluate, where the run ends with it, and write the results."""
    if trainer.eval_dataset is None or not trainer.args.do_eval:
        return {}
    results: dict[str, Any] = trainer.evaluate()
    trainer.save_metrics("eval", results)
    return results


def save_predictions(
    trainer: Trainer, rows: Mapping[str, Sequence[Mapping[str, str]]], metrics: Mapping[str, float], world: World
) -> None:
    """Write predict_results.json and generated_predictions.jsonl: prompt, predict and label of each row, in order.

    Args:
        trainer: whose output_dir it is.
        rows: by data sets' names, each of which gets a file; one without a name by ''.
        metrics: of all of them.
        world: rank 0 writes.
    """
    assert trainer.args.output_dir is not None
    trainer.save_metrics("predict", dict(metrics))
    for name, lines in rows.items() if world.is_first else ():
        path = Path(trainer.args.output_dir) / f"generated_predictions{f'_{name}' if name else ''}.jsonl"
        atomic.write(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def describe(
    trainer: Trainer, cfg: TrainConfig, world: World, *, metrics: Mapping[str, Any], notes: Sequence[str]
) -> None:
    """Write the trainer's state, curves and the card; `notes` are about the data."""
    assert trainer.args.output_dir is not None
    output_dir = Path(trainer.args.output_dir)
    trainer.save_state()
    if world.is_first:
        if cfg.finetuning.plot_loss:
            plot.draw(trainer.state.log_history, output_dir)
        atomic.write(output_dir / "README.md", card.write(cfg, world_size=world.size, metrics=metrics, notes=notes))
