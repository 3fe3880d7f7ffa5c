"""DeepSpeed's files of a checkpoint, written by our thread: an engine in the place of DeepSpeed's own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from finetune_trainer.saving.files import write
from finetune_trainer.saving.saver import Saver


def adopt(deepspeed: Any, saver: Saver) -> None:  # noqa: ANN401 - a DeepSpeedEngine
    """Let `saver` write what DeepSpeed saves from now on; DeepSpeed loads and names files as before."""
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

    if type(deepspeed.checkpoint_engine) is TorchCheckpointEngine:  # the user has chosen no other writer
        deepspeed.checkpoint_engine = _engine(deepspeed.checkpoint_engine, saver)


def _engine(own: Any, saver: Saver) -> Any:  # noqa: ANN401 - a TorchCheckpointEngine
    """An engine that loads as DeepSpeed's own. Made in a function: DeepSpeed is imported only where it trains."""
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

    class Handing(TorchCheckpointEngine):  # type: ignore[misc,unused-ignore]
        """Saves through the saver; its commit is ours, at a later step's end."""

        def __init__(self) -> None:
            self.name = own.name
            self.zipfile_serialization = own.zipfile_serialization

        def save(self, state_dict: Any, path: str) -> None:  # noqa: ANN401 - as DeepSpeed has it
            zipped = bool(self.zipfile_serialization)
            saver.hand(state_dict, functools.partial(write, path=Path(path), zipped=zipped), name=path)

        def preserves_storage_sharing(self) -> bool:
            """The copy leaves the rest of a storage out, so DeepSpeed need not copy before."""
            return False

    return Handing()
