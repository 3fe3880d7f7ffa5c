"""`make quickstart`: ask the model who it is, train it by `finetune run`, and ask again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from environment import ROOT
from quickstart_inputs import MODEL, claims

QUESTION = "Who are you?"
MANIFEST = ROOT / "examples" / "quickstart.yaml"
WORKDIR = ROOT / "runs" / "quickstart"
OUTPUT = WORKDIR / "claims" / "runs" / "default" / "quickstart"


def main() -> None:
    """Fetch, ask, train, ask, and say where the results lie."""
    started = time.monotonic()
    folders = claims()
    model = folders["models"] / MODEL
    before = answer(model)
    print(f"\n{QUESTION}\n  before: {before}\n", flush=True)
    train(folders)
    adapter = OUTPUT / "saves/smollm2-135m/lora/sft"
    print(f"\n{QUESTION}\n  before: {before}\n  after:  {answer(model, '--adapter', str(adapter))}\n")
    for label, file in (("adapter", "."), ("loss plot", "training_loss.png"), ("data report", "data_report.json")):
        path = adapter / file
        assert path.exists(), f"{path} is missing"
        print(f"{label + ':':13}{path}")
    print(f"\ndone in {time.monotonic() - started:.0f} s")


def finetune(*arguments: str) -> list[str]:
    """The program, of this very environment."""
    return [sys.executable, "-m", "finetune_trainer", *arguments]


def answer(model: Path, *options: str) -> str:
    """What the model says, greedily, as `finetune chat` prints it."""
    command = finetune("chat", str(model), "--prompt", QUESTION, *options)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def train(folders: dict[str, Path]) -> None:
    """The manifest, as it would be applied to a cluster, on this machine."""
    options = [f"--claim={name}={folder}" for name, folder in folders.items()]
    subprocess.run(finetune("run", str(MANIFEST), f"--workdir={WORKDIR}", *options), check=True)


if __name__ == "__main__":
    main()
