"""What a run with other ranks does before its model is loaded."""

from __future__ import annotations

from collections.abc import Callable

from finetune_trainer.checkpoints import Keeper
from finetune_trainer.config import TrainConfig
from finetune_trainer.resize.plan import Resize, adapted
from finetune_trainer.resize.universal import unite


def begin(cfg: TrainConfig, resize: Resize | None, keeper: Keeper, say: Callable[[str], None]) -> TrainConfig:
    """The configuration to go on with, told to people; the parts of other ranks are put together. Every rank calls it.

    Raises:
        CheckpointInvalid: DeepSpeed can't put them together.
        Fenced: a later attempt has begun meanwhile.
    """
    if resize is None:
        return cfg
    say(resize.words())
    if resize.universal:
        unite(resize.path, keeper.world, keeper)
    return adapted(cfg, resize)
