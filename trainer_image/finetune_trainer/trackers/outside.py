"""W&B, MLflow and Trackio: transformers' callbacks, in a run that we open and that knows the configuration."""

# ruff: noqa: ANN401 - transformers calls every callback with the same arguments
from __future__ import annotations

import os
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, integrations
from transformers.integrations.integration_utils import MLflowCallback, WandbCallback

from finetune_trainer.config import TrainConfig
from finetune_trainer.context import RunContext
from finetune_trainer.failures import RunError
from finetune_trainer.trackers.beginning import beginning
from finetune_trainer.trackers.said import said

PROJECT = "llamafactory"
"""LLaMA-Factory's default where WANDB_PROJECT says nothing."""


def wandb(cfg: TrainConfig, context: RunContext) -> TrainerCallback:
    """W&B. A job's later attempts go on in the same run; files lie in output_dir unless WANDB_DIR says otherwise."""
    return Wandb(cfg, context)


def mlflow(cfg: TrainConfig, context: RunContext) -> TrainerCallback:
    """MLflow, at MLFLOW_TRACKING_URI, or in the folder mlruns of output_dir."""
    return MLflow(cfg, context)


def trackio(cfg: TrainConfig, context: RunContext) -> TrainerCallback:  # noqa: ARG001 - as every builder
    """Trackio; its project and spaces are arguments of transformers' callback.

    Raises:
        RunError: this transformers has no such callback (it came with 4.54).
    """
    known = getattr(integrations, "TrackioCallback", None)
    if known is None:
        raise RunError("report_to: the installed transformers knows no trackio; write tensorboard, wandb or mlflow")
    callback: TrainerCallback = known()
    return callback


class Wandb(WandbCallback):
    """Opens the run by itself, so that its place and its id don't hang on the working directory."""

    def __init__(self, cfg: TrainConfig, context: RunContext) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cfg = cfg
        self._context = context

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        """Begin the run, or go on in the job's.

        Raises:
            RunError: W&B refuses.
        """
        with beginning("wandb", instead="set WANDB_API_KEY, or WANDB_MODE=offline to keep the run here"):
            if state.is_world_process_zero and self._wandb.run is None:
                self._begin()
            super().setup(args, state, model, **kwargs)  # type: ignore[no-untyped-call]
            if state.is_world_process_zero:
                self._wandb.config.update({"finetune": said(self._cfg)}, allow_val_change=True)

    def _begin(self) -> None:
        uid = self._context.uid
        self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self._cfg.training.run_name,
            dir=os.environ.get("WANDB_DIR", str(self._context.output_dir)),
            id=os.environ.get("WANDB_RUN_ID") or uid or None,
            resume=os.environ.get("WANDB_RESUME") or ("allow" if uid else None),
        )

    def finish(self) -> None:
        """Close the run, so that all is written before we say that we are done."""
        if self._wandb.run is not None:
            self._wandb.finish()


class MLflow(MLflowCallback):
    """Says where the run goes, and keeps the configuration as its artifact."""

    def __init__(self, cfg: TrainConfig, context: RunContext) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cfg = cfg
        self._context = context

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        """Begin the run.

        Raises:
            RunError: MLflow refuses.
        """
        with beginning("mlflow", instead="set MLFLOW_TRACKING_URI, or unset it to keep the run in output_dir/mlruns"):
            if "MLFLOW_TRACKING_URI" not in os.environ:
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses plain folders without it
                self._ml_flow.set_tracking_uri((self._context.output_dir / "mlruns").as_uri())
            super().setup(args, state, model)  # type: ignore[no-untyped-call]
            if state.is_world_process_zero:
                self._ml_flow.log_dict(said(self._cfg), "config.json")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The run stays open: metrics of the last evaluation come after it, and would begin a second run."""

    def finish(self) -> None:
        """Close the run."""
        if self._ml_flow.active_run() is not None:
            self._ml_flow.end_run()
