"""What a run does not ask for is not imported; what it asks for is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import gc, importlib.util, sys
from finetune_trainer import config, imports
imports.hurry(config.parse({keys!r}))
assert not gc.isenabled()
import transformers.cache_utils
imports.settle()
assert gc.isenabled()
print([name for name in ("hqq", "mlflow") if importlib.util.find_spec(name)], sys.modules.get("hqq") is not None)
"""
TRAINED = {"dataset": "d", "template": "llama3", "output_dir": "o", "model_name_or_path": "m"}


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, "[] False"),
        ({"quantization_method": "hqq", "quantization_bit": 4}, "['hqq'] True"),
        ({"report_to": "mlflow"}, "['mlflow'] False"),
    ],
)
def test_only_what_is_asked_for_can_be_imported(keys: dict[str, Any], found: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keys={**TRAINED, **keys})],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == found, done.stderr
