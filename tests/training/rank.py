"""One rank of a test's run: `python rank.py train.yaml [train.yaml ...]`, alone or under torchrun."""

import sys
from pathlib import Path

from finetune_trainer import config, context, imports

configs = [config.load(Path(path)) for path in sys.argv[1:]]
imports.hurry(*configs)

from finetune_trainer.train import train  # noqa: E402 - as the program does, after it is known what is needed

for cfg in configs:
    train(cfg, context.read(cfg))
