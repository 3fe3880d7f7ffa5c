"""`python -m finetune_operator`: reads the settings and runs until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from finetune_operator import handlers, logs
from finetune_operator.cluster import ClusterError
from finetune_operator.program import Program
from finetune_operator.settings import Settings


def main() -> int:
    """Run the operator.

    Returns:
        Exit status: 2 for wrong settings, 1 without a cluster.
    """
    try:
        settings = Settings.from_environment()
        logs.set_up(settings.log_format)
        program = Program(settings)
    except ValueError as error:
        print(f"finetune-operator: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(handlers.operate(settings, program))
    except Exception as error:
        unreachable = next((cause for cause in _causes(error) if isinstance(cause, ClusterError)), None)
        if unreachable is None:
            raise
        print(f"finetune-operator: {unreachable}", file=sys.stderr)
        return 1
    return 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it: kopf wraps what its start-up raises."""
    while error is not None:
        yield error
        error = error.__cause__


if __name__ == "__main__":
    sys.exit(main())
