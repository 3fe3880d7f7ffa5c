"""Finds the verb and runs it; an error of the user's becomes one message and exit code 2."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence

from finetune_trainer.cli import (
    chat,
    data,
    estimate,
    expand,
    export,
    fetch,
    init_adapter,
    prepare,
    supervise,
    train,
    version,
)
from finetune_trainer.cli.verb import Verb

OWN: Mapping[str, Verb] = {
    "train": train.VERB,
    "chat": chat.VERB,
    "data": data.VERB,
    "fetch": fetch.VERB,
    "estimate": estimate.VERB,
    "export": export.VERB,
    "expand": expand.VERB,
    "init-adapter": init_adapter.VERB,
    "prepare": prepare.VERB,
    "supervise": supervise.VERB,
    "version": version.VERB,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `finetune VERB ...`; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(OWN if argv and argv[0] in OWN else {**OWN, **_operator_verbs(argv)})
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)  # type: ignore[no-any-return] # argparse keeps it as Any
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(_to_install(argv[0], error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(verbs: Mapping[str, Verb]) -> ArgumentParser:
    parser = ArgumentParser(prog="finetune", description="Fine-tune language models, here or on Kubernetes.")
    words = parser.add_subparsers(metavar="VERB", required=True)
    for name, verb in verbs.items():
        word = words.add_parser(name, help=verb.help, description=verb.help)
        verb.configure(word)
        word.set_defaults(run=verb.run)
    return parser


def _operator_verbs(argv: Sequence[str]) -> Mapping[str, Verb]:
    """The verbs about jobs; none in the trainer's image, which holds no operator.

    Raises:
        SystemExit: such a verb may be meant, but its package is not there.
    """
    try:
        from finetune_operator import cli

        return cli.verbs()
    except ModuleNotFoundError as error:
        if argv and not argv[0].startswith("-"):
            print(_to_install(argv[0], error), file=sys.stderr)
            raise SystemExit(2) from error
        return {}


def _to_install(verb: str, error: ModuleNotFoundError) -> str:
    extra = "trainer" if verb in OWN else "operator"
    return f"finetune {verb}: {error.name} is not installed here: pip install 'finetune-operator[{extra}]'"
