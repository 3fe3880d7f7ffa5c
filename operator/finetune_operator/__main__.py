"""`python -m finetune_operator`: reads the settings and runs until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import sys

from finetune_operator import handlers
from finetune_operator.program import Program
from finetune_operator.settings import Settings


def main() -> int:
    """Run the operator.

    Returns:
        Exit status: 2 for wrong settings.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # one line for every event, else
    try:
        settings = Settings.from_environment()
    except ValueError as error:
        print(f"finetune-operator: {error}", file=sys.stderr)
        return 2
    asyncio.run(handlers.operate(settings, Program(settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
