"""Where models come from, and what is said when one cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers

from finetune_trainer.config.model import ModelGroup
from finetune_trainer.failures import ModelNotFound, RunError

_UNKNOWN = ("does not recognize this architecture", "does not exist or is not currently imported")
"""What transformers says of a model's or a tokenizer's class that it has not: a newer one, or one that is gone."""


def hub_arguments(model: ModelGroup) -> dict[str, Any]:
    """What every `from_pretrained` gets. `trust_remote_code` is always said: unsaid, transformers asks on stdin."""
    return {
        "cache_dir": model.cache_dir,
        "revision": model.model_revision,
        "trust_remote_code": model.trust_remote_code,
    }


@contextmanager
def named(source: str | None, key: str) -> Iterator[str]:
    """Turn what transformers raises about a missing model into one clear sentence.

    Raises:
        ModelNotFound: there is no such folder, or the hub does not give it.
        RunError: the model brings code of its own and nobody allowed it, or is of a class that transformers has not.
    """
    if not source:
        raise ModelNotFound(f"{key}: say which model, a folder or a hub's id such as org/name")
    if _is_path(source) and not Path(source).is_dir():
        raise ModelNotFound(f"{key}: there is no folder {source}")
    try:
        yield source
    except OSError as error:
        raise ModelNotFound(f"{key}: {source} cannot be loaded: {_first_line(error)}") from error
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise RunError(
                f"{key}: {source} brings Python code of its own; read it, then say trust_remote_code: true"
            ) from error
        if any(words in str(error) for words in _UNKNOWN):
            raise RunError(
                f"{key}: {source} needs another transformers than the {transformers.__version__} that is here: "
                f"{_first_line(error).partition('. ')[0].rstrip('.')}. Take the image with the other one"
            ) from error
        raise


def _is_path(source: str) -> bool:
    return source.startswith(("/", "./", "../", "~"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
