"""A job's file -> FineTuneJob, or every violation with its line."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune_operator import names
from finetune_trainer.config import load_yaml

NAMESPACE = "default"


class ManifestInvalid(ValueError):
    """The file can't be used; one line for each fault, `file:line: path: what is wrong`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A manifest as read from a file."""

    name: str
    text: str
    body: dict[str, Any]

    def at(self, path: str, message: str) -> str:
        """A fault at its line."""
        return f"{self.name}:{line_of(self.text, path)}: {path}: {message}"


def add_arguments(parser: ArgumentParser) -> None:
    """The file, and the namespace where the file says none."""
    parser.add_argument("file", metavar="job.yaml", help="a FineTuneJob; - reads standard input")
    parser.add_argument(
        "-n", "--namespace", default=NAMESPACE, help="namespace where the file says none (%(default)s)"
    )


def read(file: str, namespace: str = NAMESPACE, uid: str = "") -> Source:
    """Read one FineTuneJob.

    Args:
        file: Its path, or `-`.
        namespace: Where the file names none.
        uid: What the API server would have given it.

    Raises:
        ManifestInvalid: unreadable, not YAML, several documents, or another kind.
    """
    name, text = _read(file)
    try:
        body = load_yaml(text)
    except yaml.YAMLError as error:
        raise ManifestInvalid(_yaml_fault(name, error)) from error
    said = body.get("kind") if isinstance(body, dict) else type(body).__name__
    if not isinstance(body, dict) or said != names.KIND:
        raise ManifestInvalid(f"{name}:1: kind: expected {names.KIND}, got {said}")
    metadata = {"namespace": namespace, "generation": 1, "uid": uid, **(body.get("metadata") or {})}
    return Source(name=name, text=text, body={**body, "metadata": metadata})


def line_of(text: str, path: str) -> int:
    """The line, counted from 1, of the deepest part of `spec.datasets[0].uri` that the text has."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), 1
    parts = re.findall(r"[^.\[\]]+", path)
    while parts and node is not None:
        used, node, line = _step(node, parts, line)
        parts = parts[used:]
    return line


def _step(node: yaml.Node, parts: list[str], line: int) -> tuple[int, yaml.Node | None, int]:
    """One level down: parts used, the node below, its line. A key may hold dots: the longest that fits is meant."""
    if isinstance(node, yaml.SequenceNode) and parts[0].isdigit() and int(parts[0]) < len(node.value):
        below = node.value[int(parts[0])]
        return 1, below, below.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for used in range(len(parts), 0, -1):
            for key, value in node.value:
                if key.value == ".".join(parts[:used]):
                    return used, value, key.start_mark.line + 1
    return 0, None, line


def _read(file: str) -> tuple[str, str]:
    if file == "-":
        return "<stdin>", sys.stdin.read()
    try:
        return file, Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"{file}: {error}") from error


def _yaml_fault(name: str, error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"{name}: {error}"
    if isinstance(error, yaml.composer.ComposerError) and "single document" in (error.context or ""):
        return f"{name}:{error.problem_mark.line + 1}: a second document begins here; one file, one {names.KIND}"
    return f"{name}:{error.problem_mark.line + 1}: {error.problem}"
