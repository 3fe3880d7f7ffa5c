"""How the operator's log reads: a JSON object a line for a log store, or plain text; both say which job and attempt.

Law: sets the process's logging up, for `__main__`; who logs about a job says `extra=logs.about(key, attempt)`.
"""

from __future__ import annotations

import logging
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from finetune_operator.names import Key

Format = Literal["json", "text"]
_RENAMED = {"levelname": "level", "name": "logger", "exc_info": "exception"}


def set_up(style: Format) -> None:
    """Log to stderr from INFO on; of kopf's lines for each event of each object, warnings alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(style))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def formatter(style: Format) -> logging.Formatter:
    """`json`: time (UTC), level, logger, message, and of lines about a job `namespace`, `job` and `attempt`."""
    if style == "text":
        return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return JsonFormatter(["levelname", "name", "message"], rename_fields=_RENAMED, timestamp="time")


def about(key: Key, attempt: int = 0) -> dict[str, object]:
    """The fields of a line about a job; attempt 0, before the first, is left out."""
    return {"namespace": key.namespace, "job": key.name, **({"attempt": attempt} if attempt else {})}
