"""One rank that trains one configuration after the other and writes down what torch itself tells while it does.

    python observed_rank.py FOLDER train.yaml [train.yaml ...]

alone, or with RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and PORTS (one for each configuration: a world of its own)
set. Writes FOLDER/<name>-<rank>.json; each run's stderr begins with a line `=== <name>`.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from finetune_trainer import config, context
from finetune_trainer.train import train


class Watcher:
    """A hook after the forward pass of every module."""

    def __init__(self) -> None:
        self.dtypes: dict[str, list[str]] = {"train": [], "eval": []}
        self.children: list[list[tuple[str, int]]] = []
        self.ahead: list[int] = []
        self.ddp: dict[str, Any] = {}
        self.deterministic = False

    def __call__(self, module: torch.nn.Module, _: Any, output: Any) -> None:
        """Look."""
        if isinstance(module, DistributedDataParallel):
            data = module._get_ddp_logging_data()
            self.ddp = {key: value for key, value in data.items() if isinstance(value, bool | int | str)}
        if type(module).__name__ == "LlamaForCausalLM" and module.training:
            self.deterministic = torch.are_deterministic_algorithms_enabled()
            self.children.append(
                [(type(child).__name__, child.pid or 0) for child in multiprocessing.active_children()]
            )
            self.ahead += [loader._tasks_outstanding for loader in loaders()]
        if isinstance(module, torch.nn.Linear) and isinstance(output, torch.Tensor):
            seen = self.dtypes["train" if module.training else "eval"]
            if str(output.dtype) not in seen:
                seen.append(str(output.dtype))


def loaders() -> list[_MultiProcessingDataLoaderIter]:
    """Those that are loading in this process; one with fewer batches than that on their way has come to its end."""
    return [one for one in gc.get_objects() if type(one) is _MultiProcessingDataLoaderIter]


def main() -> None:
    """Run all, whatever becomes of one."""
    folder, rank = Path(sys.argv[1]), os.environ.get("RANK", "0")
    ports = os.environ.get("PORTS", "").split()
    for number, path in enumerate(map(Path, sys.argv[2:])):
        print(f"=== {path.stem}", file=sys.stderr, flush=True)
        if ports:
            os.environ["MASTER_PORT"] = ports[number]
        watcher, code = Watcher(), 0
        hook = register_module_forward_hook(watcher)
        try:
            cfg = config.load(path)
            train(cfg, context.read(cfg))
        except SystemExit as end:
            code = 1 if end.code else 0
        hook.remove()
        (folder / f"{path.stem}-{rank}.json").write_text(json.dumps({**vars(watcher), "code": code}), encoding="utf-8")


if __name__ == "__main__":
    main()
