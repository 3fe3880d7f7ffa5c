"""A running mean over global batches that a checkpoint keeps: BCO's baseline of rewards."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from finetune_trainer.stages.remembered import kept


class Baseline(TrainerCallback, ExportableState):
    """Each global batch so far counts once, as each micro batch does in trl's RunningMoments.

    transformers writes its state to trainer_state.json; LLaMA-Factory begins at zero again when it resumes.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self.batches = 0

    def add(self, mean: float) -> None:
        """Count one global batch's mean."""
        self.batches += 1
        self.mean += (mean - self.mean) / self.batches

    def state(self) -> dict[str, Any]:
        """For trainer_state.json."""
        return {"args": {}, "attributes": {"mean": self.mean, "batches": self.batches}}

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - transformers passes it
        **kwargs: Any,  # noqa: ANN401, ARG002 - transformers passes it
    ) -> None:
        """Go on from what the checkpoint has."""
        saved = kept(state, self)
        self.mean, self.batches = saved["mean"], saved["batches"]
