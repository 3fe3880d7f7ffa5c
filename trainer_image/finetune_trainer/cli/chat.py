"""`finetune chat MODEL`: look at a model, and at what an adapter made of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from finetune_trainer.cli.verb import TrainingVerb


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder or a name at the hub")
    parser.add_argument("--adapter", metavar="DIR", help="a LoRA adapter to put over it, e.g. the output_dir of a run")
    parser.add_argument("--template", help="write prompts as this template does, not as the model's own")
    parser.add_argument(
        "--prompt", action="append", help="print the answer to this and end; may be given several times"
    )
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")


def _run(arguments: Namespace) -> int:
    from finetune_trainer import chat

    if arguments.prompt is None:
        chat.talk(
            arguments.model,
            arguments.adapter,
            max_new_tokens=arguments.max_new_tokens,
            template_name=arguments.template,
        )
        return 0
    answers = chat.answer(
        arguments.model,
        arguments.adapter,
        arguments.prompt,
        max_new_tokens=arguments.max_new_tokens,
        template_name=arguments.template,
    )
    print(*answers, sep="\n\n")
    return 0


VERB = TrainingVerb(help="talk to a model, with an adapter or without", configure=_configure, run=_run)
