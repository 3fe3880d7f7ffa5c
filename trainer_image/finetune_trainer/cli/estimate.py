"""`finetune estimate train.yaml|job.yaml`: does it fit, before a GPU is taken."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.cli.verb import TrainingVerb

if TYPE_CHECKING:
    from finetune_trainer.config import TrainConfig
    from finetune_trainer.sizing import Architecture, Machine


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="keys of a LLaMA-Factory YAML, or a FineTuneJob")
    parser.add_argument(
        "--gpu-memory", metavar="80Gi", type=_memory, help="memory of one GPU; a job may say it itself"
    )
    parser.add_argument("--nodes", metavar="N", type=_number, help="nodes (1, or what the job says)")
    parser.add_argument("--gpus", metavar="N", type=_number, help="GPUs of each node (1, or what the job says)")
    parser.add_argument("--rows", metavar="N", type=_number, help="rows of the training set, to tell steps and tokens")
    parser.add_argument(
        "--model-config", metavar="PATH", type=Path, help="the model's config.json or folder, where it is not here"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON; bytes are whole numbers")


def _memory(text: str) -> int:
    from finetune_trainer.sizing import bytes_of

    try:
        return bytes_of(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"write a number above 0, not {text!r}")
    return int(text)


def _run(arguments: Namespace) -> int:
    """1 where it is known that it does not fit.

    Raises:
        ValueError: the file, or the model's description, cannot be used.
    """
    from finetune_trainer import sizing

    cfg, on = _wanted(arguments)
    on = replace(
        on,
        nodes=arguments.nodes or on.nodes,
        processes=arguments.gpus or on.processes,
        memory=arguments.gpu_memory or on.memory,
    )
    model = _model(cfg, arguments.model_config)
    found = sizing.report(cfg, model, on, rows=arguments.rows)
    if arguments.json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        from rich.console import Console

        from finetune_trainer.cli import estimate_drawing

        estimate_drawing.draw(found, model, Console())
    return 1 if found.fits is False else 0


def _wanted(arguments: Namespace) -> tuple[TrainConfig, Machine]:
    """What is trained, and on what."""
    from finetune_trainer import config
    from finetune_trainer.sizing import Machine

    if _is_job(arguments.file):
        from finetune_operator.cli import sized

        return sized.read(arguments.file)
    cfg = config.load(arguments.file)
    return cfg, Machine(gpu=not cfg.training.use_cpu)


def _is_job(file: str) -> bool:
    """Whether a file looks like a manifest; one that cannot be read is told of by who reads it next."""
    from finetune_trainer.config import load_yaml

    try:
        said = load_yaml(Path(file).read_text(encoding="utf-8"))
    except Exception:  # YAML's errors and files that are not there: config.load says what is wrong, and where
        return False
    return isinstance(said, dict) and "kind" in said and "spec" in said


def _model(cfg: TrainConfig, given: Path | None) -> Architecture:
    from finetune_trainer.sizing import facts, known

    name = cfg.model.model_name_or_path or ""
    path = given or Path(name)
    if given is None and not path.is_dir():
        if (model := known.find(name)) is not None:
            return model
        raise ValueError(
            f"model_name_or_path: {name or 'nothing'} is no folder here, nor known by name; give the "
            "model's description: --model-config config.json (a hub has it beside the weights)"
        )
    return facts.read(path)


VERB = TrainingVerb(help="tell how much memory a training takes, and what fits", configure=_configure, run=_run)
