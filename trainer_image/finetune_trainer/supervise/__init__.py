"""Process 1 of every pod: start the launcher, pass the wish to stop on, watch, report, write the outcome.

Law: knows run.json, the variables of the pod and the files of the run folder; never torch, never the training.
`launch`, `stopping` and `outcome` are pure. Nothing here may fail a run that the ranks finished.
"""

from finetune_trainer.supervise.ending import end_on_sigterm, leave
from finetune_trainer.supervise.launch import Pod
from finetune_trainer.supervise.main import supervise
from finetune_trainer.supervise.post import Poster

__all__ = ["Pod", "Poster", "end_on_sigterm", "leave", "supervise"]
