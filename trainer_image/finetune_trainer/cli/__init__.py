"""The program `finetune`: verbs about training here, verbs about jobs where the operator's package is installed.

Law: arguments in, words for people and an exit code out; what a verb does is done by other rooms, which are imported
when it runs. `finetune --help` imports no torch.
"""

from finetune_trainer.cli.main import main

__all__ = ["main"]
