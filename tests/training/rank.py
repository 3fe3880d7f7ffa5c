"""One rank of a test's run: `python rank.py train.yaml [train.yaml ...]`, alone or under torchrun."""

import sys
from pathlib import Path

from finetune_trainer import config, context
from finetune_trainer.train import train

for path in sys.argv[1:]:
    cfg = config.load(Path(path))
    train(cfg, context.read(cfg))
