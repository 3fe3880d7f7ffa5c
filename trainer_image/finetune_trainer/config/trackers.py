"""Which trackers a configuration asks for: names alone, nothing about what is installed."""

from __future__ import annotations

from finetune_trainer.config.train_config import TrainConfig

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio", "swanlab")


def asked(cfg: TrainConfig) -> tuple[str, ...]:
    """Trackers by name, each once; `all` stands for those that are installed and is left as it is."""
    said = [name for name in cfg.training.report_to if name != "none"]
    return tuple(dict.fromkeys([*said, *(["swanlab"] if cfg.finetuning.use_swanlab else [])]))
