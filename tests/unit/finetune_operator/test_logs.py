"""What a log store reads of a line."""

from __future__ import annotations

import json
import logging
import sys

from finetune_operator import logs
from finetune_operator.names import Key


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("finetune_operator.reconcile")
    return logger.makeRecord(logger.name, logging.INFO, "f", 1, message, arguments, None, extra=extra)


def test_a_line_of_json_has_its_job_and_attempt() -> None:
    key = Key("team", "job")
    line = logs.formatter("json").format(record("%s: applied %s", key, "x\ny", **logs.about(key, 2)))
    read = json.loads(line)
    assert "\n" not in line
    assert read.pop("time").endswith("+00:00")
    assert read == {
        "level": "INFO",
        "logger": "finetune_operator.reconcile",
        "message": "team/job: applied x\ny",
        "namespace": "team",
        "job": "job",
        "attempt": 2,
    }


def test_before_the_first_attempt_there_is_none_to_name() -> None:
    assert "attempt" not in json.loads(logs.formatter("json").format(record("x", **logs.about(Key("a", "b")))))


def test_a_traceback_is_in_its_line() -> None:
    failed = record("a bug")
    try:
        raise ValueError("odd")
    except ValueError:
        failed.exc_info = sys.exc_info()
    assert "ValueError: odd" in json.loads(logs.formatter("json").format(failed))["exception"]


def test_a_line_of_text_names_the_job_too() -> None:
    line = logs.formatter("text").format(record("%s: applied", Key("team", "job")))
    assert line.endswith("INFO finetune_operator.reconcile: team/job: applied")
