"""What a run does not ask for is not imported; what it asks for is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer import config, imports

PROGRAM = """
import gc, importlib.util, sys
from finetune_trainer import config, imports
imports.hurry(config.parse({keys!r}))
assert not gc.isenabled()
import transformers.cache_utils
imports.settle()
assert gc.isenabled()
found = [name for name in ("bitsandbytes", "hqq", "mlflow") if importlib.util.find_spec(name)]
print(found, sys.modules.get("hqq") is not None)
"""
TRAINED = {"dataset": "d", "template": "llama3", "output_dir": "o", "model_name_or_path": "m"}


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, "[] False"),
        ({"quantization_method": "hqq", "quantization_bit": 4}, "['bitsandbytes', 'hqq'] True"),
        ({"report_to": "mlflow"}, "['mlflow'] False"),
    ],
)
def test_only_what_is_asked_for_can_be_imported(keys: dict[str, Any], found: str, models: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keys={**TRAINED, **keys})],
        cwd=models,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == found, done.stderr


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, False),
        ({"stage": "rm", "finetuning_type": "lora"}, False),
        ({"quantization_bit": 4}, True),
        ({"optim": "paged_adamw_8bit"}, True),
        ({"use_galore": True, "finetuning_type": "full"}, True),
        ({"stage": "dpo", "ref_model": "m"}, True),
        ({"model_name_or_path": "at/a-hub"}, True),
        ({"model_name_or_path": "stored"}, True),
    ],
)
def test_who_may_want_bitsandbytes(
    keys: dict[str, Any], wanted: bool, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    assert imports.OPTIONAL["bitsandbytes"](config.parse({**TRAINED, **keys})) == wanted


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with two of them, one stored by bitsandbytes."""
    for name, description in {"m": {}, "stored": {"quantization_config": {"load_in_4bit": True}}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(description), encoding="utf-8")
    return tmp_path
