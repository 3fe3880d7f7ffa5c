"""The libraries' own bars, warnings and log lines, silenced: chatter would hide our own lines.

Law: sets the libraries' switches, and nothing else; errors still show.
"""

from __future__ import annotations

import logging
import os
import warnings

import datasets
import torch
import transformers


def hush() -> None:
    """Once per process, before a model is loaded."""
    os.environ["DISABLE_KUBEFLOW_INTEGRATION"] = "TRUE"  # the supervisor posts progress, once
    if not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed warns when it has to find that out itself
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # misses a kernel that only a hub has
    warnings.filterwarnings("ignore", category=FutureWarning)
    # Workers that only fetch rows of tokens hardly use a core.
    warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
