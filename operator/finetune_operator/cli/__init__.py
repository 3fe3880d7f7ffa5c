"""Verbs about jobs: `finetune run | render | validate job.yaml`, `finetune explain JOB`, also as kubectl-finetune.

Law: arguments in, words and an exit code out; what a verb does is done by other rooms. Works without torch and, but
for `explain`, without a cluster. `finetune_trainer.cli` finds these verbs by `verbs()`, when it is asked for one; its
own `finetune estimate` reads a job by `sized`.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetune_operator.cli.verb import Verb


def verbs() -> Mapping[str, Verb]:
    """Name -> verb, in the order in which help lists them."""
    from finetune_operator.cli import explain, render, run, validate

    return {"run": run.VERB, "render": render.VERB, "validate": validate.VERB, "explain": explain.VERB}


__all__ = ["Verb", "verbs"]
