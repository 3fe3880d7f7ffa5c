"""`finetune init-adapter MODEL OUTPUT --kind pissa|loftq`: adapter and base, ready for (quantised) training."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder or a name at the hub")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder for the changed base and the adapter")
    parser.add_argument("--kind", choices=("pissa", "loftq"), required=True, help="how the adapter begins")
    parser.add_argument("--rank", type=int, default=16, metavar="N", help="rank of the adapter (16)")
    parser.add_argument("--alpha", type=int, metavar="N", help="scale of the adapter (twice the rank)")
    parser.add_argument("--target", default="all", metavar="NAMES", help="modules, with commas (all)")
    parser.add_argument("--iterations", type=int, metavar="N", help="16 for pissa, -1 is exact; 4 for loftq")
    parser.add_argument("--bits", type=int, default=4, metavar="N", help="loftq: bits of the quantised base (4)")
    parser.add_argument("--size", type=int, default=5, metavar="GB", help="largest file (5)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")


def _run(arguments: Namespace) -> int:
    from finetune_trainer import export, quiet

    quiet.hush()
    wanted = export.FirstAdapter(
        kind=arguments.kind,
        rank=arguments.rank,
        alpha=arguments.alpha,
        target=tuple(name.strip() for name in arguments.target.split(",")),
        iterations=arguments.iterations,
        bits=arguments.bits,
    )
    adapter = export.init_adapter(
        arguments.model,
        arguments.output,
        wanted,
        size=arguments.size,
        trust_remote_code=arguments.trust_remote_code,
    )
    print("train it with")
    for key, value in wanted.keys(arguments.output, adapter).items():
        print(f"{key}: {str(value).lower() if isinstance(value, bool) else value}")
    return 0


VERB = TrainingVerb(help="begin an adapter with PiSSA or LoftQ", configure=_configure, run=_run)
