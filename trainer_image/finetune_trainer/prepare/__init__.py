"""`prepare`: what a job needs before GPUs are taken: the model in the cache, its size, the data as tokens.

Law: process 1 of a pod without a GPU. It does nothing by itself: the model is `fetch`'s, the size `sizing`'s, the
tokens `data`'s. It says how far it is, and leaves what it found, or why it failed, in the termination message.
"""

from finetune_trainer.prepare.main import prepare

__all__ = ["prepare"]
