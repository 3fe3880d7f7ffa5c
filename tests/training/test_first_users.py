"""What the first users run, from their own files in examples/llamafactory, scaled down by flags as they would do it.

Beside the model, data and places only what a laptop lacks is said differently: no GPU (so no Liger), two steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dev import peer
from tests.tiny_model import make_remote_model, make_rows, make_tiny_model
from tests.training.runs import ROOT, Workspace
from transformers import AutoModelForCausalLM, AutoTokenizer

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

FOLDER = ROOT / "examples" / "llamafactory"
LAPTOP = ("use_cpu=true", "max_steps=2", "logging_steps=1", "preprocessing_num_workers=2")
TWO_RANKS = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model of transformers' own, one with code beside it, and data in the shapes that the users have."""
    folder = tmp_path_factory.mktemp("users")
    make_tiny_model(folder / "model", spare=96)
    (folder / "remote").mkdir()
    make_remote_model(folder / "remote")
    write_data(folder / "data")
    return Workspace(folder=folder)


def write_data(folder: Path) -> None:
    """alpaca rows, rows with long answers, and tickets as messages, with the entries that the users write."""
    folder.mkdir()
    rows = make_rows(24)
    long = [{**row, "output": " ".join([row["output"]] * 40)} for row in rows]
    tickets = [
        {
            "messages": [
                {"role": "system", "content": "You sort tickets."},
                {"role": "user", "content": row["instruction"]},
                {"role": "assistant", "content": row["output"]},
            ]
        }
        for row in rows
    ]
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    messages = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {**tags, "system_tag": "system"},
    }
    files: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "alpaca-cleaned": (rows, {}),
        "long-cot": (long, {}),
        "tickets": (tickets, messages),
        "tickets-dev": (tickets[:4], messages),
    }
    for name, (content, _) in files.items():
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    entries = {name: {"file_name": f"{name}.jsonl", **entry} for name, (_, entry) in files.items()}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")


def finetune(workspace: Workspace, *words: str, environment: Mapping[str, str] | None = None) -> str:
    """What the command says; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "finetune_trainer", *words],
        env={**os.environ, **workspace.environment(), **(environment or {})},
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def train(
    workspace: Workspace, name: str, *flags: str, environment: Mapping[str, str] | None = None, model: str = "model"
) -> str:
    """Train by one of the files."""
    places = (f"model_name_or_path={workspace.folder / model}", f"output_dir={workspace.output(name)}")
    path = str(FOLDER / f"{name}.yaml")
    return finetune(workspace, "train", path, *places, *LAPTOP, *flags, environment=environment)


def assert_left(workspace: Workspace, name: str, *files: str) -> None:
    """Two finite losses, and the files that the config asks for."""
    losses = workspace.losses(name)
    assert sorted(losses) == [1, 2]
    assert all(0 < loss < 20 for loss in losses.values())
    missing = [file for file in files if not (workspace.output(name) / file).exists()]
    assert missing == []


def test_telechat3(workspace: Workspace) -> None:
    """Code beside the model, ZeRO-3 by the name of LLaMA-Factory's file, template telechat2, on two ranks."""
    said = train(
        workspace,
        "telechat3_full_sft",
        f"dataset_dir={peer.demo_data()}",
        "max_samples=40",
        environment=TWO_RANKS,
        model="remote",
    )
    assert "on 2 ranks" in said
    files = ("checkpoint-2/global_step2", "training_loss.png", "modeling_tinychat.py")
    assert_left(workspace, "telechat3_full_sft", *files)
    lm = AutoModelForCausalLM.from_pretrained(workspace.output("telechat3_full_sft"), trust_remote_code=True)
    assert lm.config.model_type == "tinychat"


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("opendataarena_llama31_8b", TWO_RANKS),
        ("opendataarena_qwen25_7b", None),
        ("opendataarena_qwen25_7b_long_cot", None),
    ],
)
def test_opendataarena(workspace: Workspace, name: str, ranks: dict[str, str] | None) -> None:
    """ds_z2, one checkpoint without optimizer, curves; the long twin packed, its context cut to the tiny model's."""
    fits = ("cutoff_len=512",) if name.endswith("long_cot") else ()
    flags = ("dataset_dir=data", "use_liger_kernel=false", *fits)
    train(workspace, name, *flags, environment=ranks or {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "1"})
    assert_left(workspace, name, "checkpoint-2/model.safetensors", "training_loss.png", "train_results.json")
    assert not list(workspace.output(name).glob("checkpoint-2/global_step*")), "save_only_model"


@pytest.mark.parametrize(
    ("name", "ranks"), [("qwen2_7b_full", TWO_RANKS), ("qwen2_7b_lora", None), ("qwen2_7b_qlora", None)]
)
def test_qwen2(workspace: Workspace, name: str, ranks: dict[str, str] | None) -> None:
    """Tickets as messages, evaluated on others; full on two ranks, LoRA and QLoRA on one."""
    train(workspace, name, "dataset_dir=data", "eval_steps=1", environment=ranks)
    weights = "model.safetensors" if name == "qwen2_7b_full" else "adapter_model.safetensors"
    assert_left(workspace, name, weights, "training_eval_loss.png", "checkpoint-2")


def test_qwen2_merged_and_asked(workspace: Workspace) -> None:
    """As its users ask: apply_chat_template with add_generation_prompt, then generate. Needs the LoRA run."""
    merged = workspace.folder / "merged"
    finetune(
        workspace,
        "export",
        str(FOLDER / "qwen2_7b_merge.yaml"),
        f"model_name_or_path={workspace.folder / 'model'}",
        f"adapter_name_or_path={workspace.output('qwen2_7b_lora')}",
        f"export_dir={merged}",
    )
    tokenizer = AutoTokenizer.from_pretrained(merged)
    question = [{"role": "user", "content": "Say 1 word: red"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = AutoModelForCausalLM.from_pretrained(merged).generate(**ids, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > ids["input_ids"].shape[1]
