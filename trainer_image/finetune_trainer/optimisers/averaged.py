"""schedule-free optimisers train one set of weights and answer with another, their mean: what is saved is the mean.

transformers calls `train()` before each step and `eval()` before an evaluation, but not before it saves
(https://github.com/facebookresearch/schedule_free, "Caveats").
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class SavesTheMean(TrainerCallback):
    """Turns to the mean whenever a step, an epoch or the run has ended and something may be saved."""

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers passes it
    ) -> None:
        """Before a checkpoint."""
        if control.should_save or control.should_training_stop:
            _settle(kwargs.get("optimizer"))

    def on_epoch_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ANN401 - transformers passes it
    ) -> None:
        """Before a checkpoint at an epoch's end."""
        _settle(kwargs.get("optimizer"))

    def on_train_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ANN401 - transformers passes it
    ) -> None:
        """Before the result."""
        _settle(kwargs.get("optimizer"))


def _settle(optimiser: Any) -> None:  # noqa: ANN401 - accelerate's wrapper, or none yet
    if hasattr(optimiser, "eval"):
        optimiser.eval()
