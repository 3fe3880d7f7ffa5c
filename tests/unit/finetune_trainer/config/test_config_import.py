"""The operator imports the contract: it must be light."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys, time
start = time.perf_counter()
import finetune_trainer.config
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""
HEAVY = {"torch", "transformers", "numpy", "datasets", "peft", "accelerate", "deepspeed", "kubernetes", "kopf"}


def test_import_is_light() -> None:
    path = json.dumps([entry for entry in sys.path if entry])
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{PROGRAM}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    print(f"import finetune_trainer.config: {found['seconds']:.3f} s (0.3 s on an idle machine is the measure)")
    assert not HEAVY & set(found["modules"])
