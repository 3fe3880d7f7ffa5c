"""What all ranks of a run must have been given alike."""

from __future__ import annotations

import hashlib
import json

from finetune_trainer.config.parse import dump
from finetune_trainer.config.train_config import TrainConfig

_PLACES = ("_dir", "_path", "_file", "_folder")
"""Ends of keys that say where something lies: machines may name one thing differently."""
_OF_A_RANK = frozenset(
    {
        "deepspeed", "fsdp_config", "resume_from_checkpoint", "run_name", "report_to", "disable_tqdm", "local_rank",
        "dataloader_num_workers", "log_level", "print_param_status", "plot_loss", "ref_model", "ref_model_adapters",
        "reward_model", "reward_model_adapters",
    }
)  # fmt: skip
"""Keys by which a rank may differ and still make the same steps, or that name a file too."""


def alike(cfg: TrainConfig) -> dict[str, str]:
    """Key -> a short name for its value, of the keys that were said; the values themselves stay with their rank."""
    said = {key: value for key, value in dump(cfg).items() if key not in _OF_A_RANK and not key.endswith(_PLACES)}
    return {key: _name(value) for key, value in said.items()}


def _name(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
