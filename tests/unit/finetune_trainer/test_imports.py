"""What a run does not ask for is not imported; what it asks for is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
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
        ({"quantization_bit": 4}, "['bitsandbytes'] False"),
        ({"optim": "paged_adamw_8bit"}, "['bitsandbytes'] False"),
        ({"use_galore": True, "finetuning_type": "full"}, "['bitsandbytes'] False"),
        ({"stage": "rm", "finetuning_type": "lora"}, "[] False"),
        ({"stage": "dpo", "ref_model": "m"}, "['bitsandbytes'] False"),
        ({"model_name_or_path": "at/a-hub"}, "['bitsandbytes'] False"),
        ({"model_name_or_path": "STORED"}, "['bitsandbytes'] False"),
    ],
)
def test_only_what_is_asked_for_can_be_imported(keys: dict[str, Any], found: str, tmp_path: Path) -> None:
    for name, description in {"m": {}, "STORED": {"quantization_config": {"load_in_4bit": True}}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(description))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keys={**TRAINED, **keys})],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == found, done.stderr
