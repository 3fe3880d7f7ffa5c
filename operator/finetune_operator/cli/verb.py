"""What a verb of the program is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One word of `finetune WORD`."""

    help: str
    configure: Callable[[ArgumentParser], None]
    """Adds the verb's arguments."""
    run: Callable[[Namespace], int]
    """Does it, and returns the exit code; a ValueError is for people."""
