"""One rank of a shape of benchmarks.estimate: two steps of our own trainer, watched.

    python -m benchmarks.estimate_side train.yaml peak.json

Writes the peak of live tensor bytes between the training's first and last step (what is loaded before counts as long
as it lives), and the process's largest resident set, both in bytes, to `peak-<rank>.json`. On a GPU the peak is what
PyTorch's allocator counts.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from finetune_trainer import config, context, imports

cfg = config.load(Path(sys.argv[1]))
imports.hurry(cfg)

from finetune_trainer import quiet  # noqa: E402 - as the program does, after it is known what is needed

quiet.hush()

import torch  # noqa: E402
from benchmarks.tensor_memory import LiveTensors  # noqa: E402

from finetune_trainer.stages.trainer import GlobalTrainer  # noqa: E402
from finetune_trainer.train import train  # noqa: E402


def main() -> None:
    """Train, and write the peaks."""
    live, peaks = LiveTensors(), {}
    trains = GlobalTrainer.train

    def watched(self: GlobalTrainer, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        live.forget()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        done = trains(self, *args, **kwargs)  # type: ignore[no-untyped-call]
        peaks["tensors"] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else live.peak
        return done

    GlobalTrainer.train = watched  # type: ignore[method-assign]
    with live:
        train(cfg, context.read(cfg))
    peaks["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    said = Path(sys.argv[2])
    said.with_stem(f"{said.stem}-{os.environ.get('RANK', '0')}").write_text(json.dumps(peaks))


if __name__ == "__main__":
    main()
