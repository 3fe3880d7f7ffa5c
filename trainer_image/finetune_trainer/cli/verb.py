"""What a verb of the program is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Verb(Protocol):
    """One word of `finetune WORD`, of whichever package."""

    @property
    def help(self) -> str:
        """One line for the list of verbs."""

    @property
    def configure(self) -> Callable[[ArgumentParser], None]:
        """Adds the verb's arguments."""

    @property
    def run(self) -> Callable[[Namespace], int]:
        """Does it, and returns the exit code; a ValueError is for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingVerb:
    """A verb of this package."""

    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
