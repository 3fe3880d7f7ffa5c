"""`finetune expand MODEL OUTPUT --blocks N`: LLaMA Pro's block expansion."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder or a name at the hub")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder for the deeper model")
    parser.add_argument("--blocks", type=int, required=True, metavar="N", help="how many blocks to add")
    parser.add_argument("--size", type=int, default=5, metavar="GB", help="largest file (5)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")


def _run(arguments: Namespace) -> int:
    from finetune_trainer import export, quiet

    quiet.hush()
    total = export.expand(
        arguments.model,
        arguments.output,
        arguments.blocks,
        size=arguments.size,
        trust_remote_code=arguments.trust_remote_code,
    )
    print(f"{arguments.output} has {total} blocks; train the {arguments.blocks} added ones with")
    print(f"model_name_or_path: {arguments.output}\nfinetuning_type: freeze")
    print(f"freeze_trainable_layers: {arguments.blocks}\nuse_llama_pro: true")
    return 0


VERB = TrainingVerb(help="add blocks to a model that change nothing yet (LLaMA Pro)", configure=_configure, run=_run)
