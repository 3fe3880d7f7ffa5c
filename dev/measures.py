"""Sizes of files and functions beside the house's measures: `make measures`.

Files 100-200 lines and a reason above 300; functions around 10 lines, nine in ten under 50; every signature annotated.
"""

from __future__ import annotations

import ast
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("operator/finetune_operator", "trainer_image/finetune_trainer", "tests", "dev")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What was measured in one folder; lengths in lines."""

    files: tuple[int, ...]
    functions: tuple[int, ...]
    annotated: float
    documented: float

    @property
    def median(self) -> float:
        """Of the functions."""
        return statistics.median(self.functions)

    @property
    def ninetieth(self) -> float:
        """Nine in ten functions are not longer."""
        return statistics.quantiles(self.functions, n=10)[-1]


def measure(folder: Path) -> Measures:
    """Read every Python file below a folder."""
    sources = [path.read_text() for path in sorted(folder.rglob("*.py"))]
    functions = [
        node
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Measures(
        files=tuple(source.count("\n") for source in sources),
        functions=tuple((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions),
        annotated=sum(is_annotated(node) for node in functions) / len(functions),
        documented=sum(ast.get_docstring(node) is not None for node in functions) / len(functions),
    )


def is_annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return value and every argument but self and cls."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given = [argument for argument in arguments if argument.arg not in {"self", "cls"}]
    return node.returns is not None and all(argument.annotation is not None for argument in given)


def main() -> None:
    """Print the table."""
    of_files, of_functions = ("files", "lines", "median", "longest"), ("functions", "median", "p90", "longest")
    table = Table("folder", *of_files, *of_functions, "annotated", "docstring")
    for name in FOLDERS:
        found = measure(ROOT / name)
        table.add_row(
            name,
            f"{len(found.files)}",
            f"{sum(found.files)}",
            f"{statistics.median(found.files):.0f}",
            f"{max(found.files)}",
            f"{len(found.functions)}",
            f"{found.median:.0f}",
            f"{found.ninetieth:.0f}",
            f"{max(found.functions)}",
            f"{found.annotated:.0%}",
            f"{found.documented:.0%}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
