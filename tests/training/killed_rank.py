"""One rank that dies by SIGKILL in the middle of writing a checkpoint: `python killed_rank.py STEP train.yaml`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from finetune_trainer import config, context, saving
from finetune_trainer.train import train


def main() -> None:
    """Train until the optimiser's state of that step is half on disk."""
    step, path = int(sys.argv[1]), Path(sys.argv[2])
    whole = saving.write

    def half(value: Any, path: Path) -> None:
        if path.name == "optimizer.pt" and path.parent.name == f"checkpoint-{step}":
            whole(value, path)
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        whole(value, path)

    saving.write = half  # type: ignore[assignment]
    cfg = config.load(path)
    train(cfg, context.read(cfg))


if __name__ == "__main__":
    main()
