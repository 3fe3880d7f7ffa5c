"""Every YAML below `examples/` of LLaMA-Factory 0.9.5: accepted, or refused by a named reason; the accepted ones run.

python -m tests.conformance.llamafactory_examples           the table
python -m tests.conformance.llamafactory_examples --write   the table into docs/llamafactory-examples.md
python -m tests.conformance.llamafactory_examples --run     and two steps of each accepted text one
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from dev import peer
from dev.environment import ROOT

from finetune_trainer import config

PAGE = ROOT / "docs" / "llamafactory-examples.md"
HEAD = """# LLaMA-Factory's own examples

What becomes of every YAML below `examples/` of LLaMA-Factory 0.9.5 when it is given to us as it is. Made by
`python -m tests.conformance.llamafactory_examples --write`; a test holds it to the code.

| file | for | verdict |
|---|---|---|
"""
Verb = Literal["train", "export", "chat", "tokens"]
RUN = {"max_steps": 2, "use_cpu": True, "logging_steps": 1, "preprocessing_num_workers": 1, "cutoff_len": 128}
"""What is said differently, so that a laptop does it in seconds; everything else stays as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One file, and what we say to it."""

    name: str
    keys: Mapping[str, Any]
    verb: Verb
    """What the file is for: a command of LLaMA-Factory, or a list of tokens that another file names."""
    reasons: tuple[str, ...]
    """Why it is refused; empty: it is accepted."""

    @property
    def about_text(self) -> bool:
        """No images, no sound: by the names of the templates of such models."""
        return not any(word in str(self.keys.get("template", "")) for word in ("vl", "omni", "v_"))

    def line(self) -> str:
        """One row of the table."""
        verdict = "accepted" if not self.reasons else f"refused: {'; '.join(self.reasons)}"
        return f"| `{self.name}` | {self.verb} | {verdict} |"


def examples() -> Iterator[Example]:
    """All of them, by name.

    Raises:
        subprocess.CalledProcessError: the package index does not give LLaMA-Factory's source.
    """
    folder = peer.examples()
    for path in sorted(folder.rglob("*.yaml")):
        keys = config.load_yaml(path.read_text(encoding="utf-8"))
        verb = verb_of(keys)
        yield Example(name=str(path.relative_to(folder)), keys=keys, verb=verb, reasons=reasons(path, verb))


def verb_of(keys: Mapping[str, Any]) -> Verb:
    """What LLaMA-Factory's users do with such a file."""
    if any(name.startswith("<|") for name in keys):
        return "tokens"
    if "export_dir" in keys and "model_name_or_path" in keys:
        return "export"
    return "chat" if "infer_backend" in keys else "train"


def reasons(path: Path, verb: Verb) -> tuple[str, ...]:
    """What is wrong with the file, without places."""
    if verb == "tokens":
        return ()
    try:
        config.load(path, complete=verb == "train")
    except config.ConfigInvalid as error:
        return tuple(
            f"{violation.path.rpartition(':')[2].strip()}: {violation.message}" for violation in error.violations
        )
    return ()


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"{example.line()}\n" for example in examples())


def runnable(example: Example, workspace: Path) -> dict[str, Any]:
    """The keys of an accepted training on text, with a tiny model and LLaMA-Factory's demo data in their places."""
    known = config.load_yaml((peer.demo_data() / "dataset_info.json").read_text(encoding="utf-8"))
    keys = {**example.keys, **RUN, "model_name_or_path": str(workspace / "model")}
    keys |= {"dataset_dir": str(peer.demo_data()), "output_dir": str(workspace / "saves" / example.name)}
    keys |= {name: 10 for name in ("max_samples",) if name in keys}
    if "dataset" in keys and any(name not in known for name in str(keys["dataset"]).split(",")):
        keys["dataset"] = "alpaca_en_demo"  # some name data sets that LLaMA-Factory does not ship
    if "tokenized_path" in keys:
        keys["tokenized_path"] = str(workspace / "tokenized")
    if keys.get("use_llama_pro"):
        keys["freeze_trainable_layers"] = 1  # of two; the number divides the model's blocks
    keys.pop("adapter_name_or_path", None)  # the result of another training
    return keys


def run(example: Example, workspace: Path) -> str:
    """Two steps in a process of its own; the last line it says, or what went wrong."""
    path = workspace / f"{example.name.replace('/', '-')}"
    path.write_text(yaml.safe_dump(runnable(example, workspace)), encoding="utf-8")
    command = [sys.executable, "-m", "finetune_trainer", "train", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = done.stdout if done.returncode == 0 else done.stderr
    lines = [line for line in said.splitlines() if line.strip()]
    return f"{'ran' if done.returncode == 0 else 'FAILED'}: {lines[-1] if lines else ''}"


def main() -> int:
    """Print the table; with --run also what came of the runs. 1 when a run failed."""
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        if "--run" in sys.argv:
            from tests.tiny_model import make_tiny_model

            make_tiny_model(Path(folder) / "model", spare=96)
        for example in examples():
            print(example.line(), flush=True)
            if "--run" in sys.argv and example.verb == "train" and not example.reasons and example.about_text:
                came = run(example, Path(folder))
                failed |= not came.startswith("ran")
                print(f"    {came}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
