"""Files of an exported model: weights in shards, in either format; and a hub that takes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from finetune_trainer.failures import RunError

_SAFE, _LEGACY = "model.safetensors", "pytorch_model.bin"


def save(model: PreTrainedModel, folder: Path, *, size: int, legacy: bool = False) -> None:
    """Write configuration, generation settings and weights; older weights in the folder go.

    Args:
        model: whole, on any device.
        folder: where to.
        size: of the largest file, in GB.
        legacy: as .bin files instead of safetensors.
    """
    for pattern in (f"{Path(_SAFE).stem}*.safetensors*", f"{Path(_LEGACY).stem}*.bin*"):
        for old in folder.glob(pattern):
            old.unlink()
    model.save_pretrained(str(folder), max_shard_size=f"{size}GB")
    if legacy:
        _to_legacy(folder)


def _to_legacy(folder: Path) -> None:
    """transformers 5 writes safetensors only; shard by shard they become what it still reads."""
    for path in sorted(folder.glob("model*.safetensors")):
        torch.save(load_file(path), folder / _legacy_name(path.name))
        path.unlink()
    index = folder / f"{_SAFE}.index.json"
    if index.exists():
        described = json.loads(index.read_text(encoding="utf-8"))
        described["weight_map"] = {name: _legacy_name(file) for name, file in described["weight_map"].items()}
        (folder / f"{_LEGACY}.index.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
        index.unlink()


def _legacy_name(name: str) -> str:
    return name.replace("model", Path(_LEGACY).stem, 1).replace(".safetensors", ".bin")


def push(folder: Path, repository: str) -> None:
    """Send all of the folder to the hub; HF_TOKEN is the permission.

    Raises:
        RunError: the hub does not take it. The folder stays.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=str(folder))
    except Exception as error:  # the hub's client has many ways to fail, none of them ours
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(
            f"export_hub_model_id: {repository} could not be written ({told}); the model is complete in {folder}: set "
            "HF_TOKEN to a token that may write, and send it with `hf upload`"
        ) from error
