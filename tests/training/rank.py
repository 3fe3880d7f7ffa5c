"""One rank of a test's run: `python rank.py train.yaml [train.yaml ...]`, alone or under torchrun."""

import sys
from collections.abc import Sequence
from pathlib import Path

from finetune_trainer import config, context, imports


def main(paths: Sequence[str]) -> None:
    """Train one after the other."""
    configs = [config.load(Path(path)) for path in paths]
    imports.hurry(*configs)

    from finetune_trainer.train import train  # as the program does, after it is known what is needed

    for cfg in configs:
        train(cfg, context.read(cfg))


if __name__ == "__main__":
    main(sys.argv[1:])
