"""A model small enough to train in seconds, and rows for it: a llama of two layers, with a real tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

TOKENIZER = Path(__file__).parent / "conformance" / "tokenizer"
REMOTE_CODE = Path(__file__).parent / "remote_model"

WORDS = ("river", "stone", "lamp", "winter", "seven", "green", "house", "music", "paper", "cloud", "silver")


def make_tiny_model(folder: Path, *, seed: int = 0, tied: bool = True, spare: int = 0) -> Path:
    """Save a llama of hidden size 64 and two layers with the conformance tokenizer; returns the folder.

    `spare` embeddings have no token yet: templates of other models add theirs.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + spare,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.1,  # larger than usual: with a frozen output layer, an adapter could not learn otherwise
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_remote_model(folder: Path) -> Path:
    """Save a model whose Python code lies in its own folder (`auto_map`), as TeleChat3's does; returns the folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.save_pretrained(folder)
    for code in REMOTE_CODE.glob("*.py"):
        (folder / code.name).write_text(code.read_text(encoding="utf-8"), encoding="utf-8")
    settings = {
        "architectures": ["TinyChatForCausalLM"],
        "model_type": "tinychat",
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": False,
        "auto_map": {
            "AutoConfig": "configuration_tinychat.TinyChatConfig",
            "AutoModelForCausalLM": "modeling_tinychat.TinyChatForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    return folder


def make_rows(count: int, *, seed: int = 0) -> list[dict[str, str]]:
    """Alpaca rows whose answers, and so their learned tokens, are of unequal length; learnable within a few steps."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(1, 12))
        rows.append(
            {"instruction": f"Say {len(words)} words: {' '.join(words)}", "input": "", "output": " ".join(words)}
        )
    return rows


def write_dataset(folder: Path, rows: list[dict[str, str]], *, name: str = "words") -> Path:
    """Write rows and the dataset_info.json that names them; returns the folder, for `dataset_dir`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({name: {"file_name": f"{name}.json"}}), encoding="utf-8")
    return folder
