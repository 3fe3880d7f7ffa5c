"""What callbacks know and a checkpoint keeps, in trainer_state.json; and the patience of early stopping, which is one.

transformers brings such states back all or none, and with them those that belong to one attempt alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


def kept(state: TrainerState, callback: ExportableState) -> Mapping[str, Any]:
    """The attributes of a callback of this class in the checkpoint that the run goes on from, or as it begins."""
    callbacks: Any = state.stateful_callbacks
    name = type(callback).__name__
    if name not in callbacks:  # of a run without it: transformers saves into places that it finds
        callbacks[name] = callback.state()
    attributes: Mapping[str, Any] = callbacks[name]["attributes"]
    return attributes


class Patience(EarlyStoppingCallback):
    """early_stopping_steps, counted on when a run is resumed: transformers and LLaMA-Factory begin again at none."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers passes it
    ) -> None:
        """Go on as the checkpoint was left."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        self.early_stopping_patience_counter = kept(state, self)["early_stopping_patience_counter"]
