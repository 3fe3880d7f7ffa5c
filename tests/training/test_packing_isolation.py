"""neat_packing: what a packed row gives is what it gives alone, for logits, losses and gradients; and the probe that
finds out on the model at hand."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tests.training.runs import ROOT, free_port
from torch import nn
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from finetune_trainer import isolation
from finetune_trainer.collate import Batch, Collator, IsolatedCollator, Layout
from finetune_trainer.encode.encoder import EncodeOptions
from finetune_trainer.encode.packing import sft_packer
from finetune_trainer.encode.ragged import Ragged
from finetune_trainer.losses import tokens

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]

CPU = torch.device("cpu")
PAD, WIDTH, WINDOW = 0, 48, 6
SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.1,
    "pad_token_id": PAD,
}
WINDOWED = ["sliding_attention", "full_attention", "sliding_attention"]


def make(name: str, attention: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel
    if name == "gemma3":
        config = Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=WINDOW, layer_types=WINDOWED)
        model = Gemma3ForCausalLM(config)
    elif name == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16))
    elif name == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=64, n_head=4, n_layer=2, initializer_range=0.1))
    elif name == "mamba":
        model = MambaForCausalLM(MambaConfig(vocab_size=100, hidden_size=64, num_hidden_layers=2))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    model.config._attn_implementation = attention
    model.config.use_cache = False
    return model.eval()


def packed(count: int, *, prompt: float = 0.5) -> list[dict[str, list[int]]]:
    """`count` packed sequences; of each row in them, a share of the labels is not learned."""
    draw = random.Random(1)
    rows = [[draw.randrange(1, 100) for _ in range(draw.randint(3, 20))] for _ in range(4 * count)]
    labels = [[-100] * int(prompt * len(row)) + row[int(prompt * len(row)) :] for row in rows]
    options = EncodeOptions(cutoff_len=WIDTH, packing=True, neat_packing=True, today=date(2026, 1, 1))
    columns = sft_packer(options, PAD)({"input_ids": Ragged.of(rows), "labels": Ragged.of(labels)})
    lists = {name: column.rows() for name, column in columns.items()}
    sequences = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    assert max(sequences[0]["attention_mask"]) > 1, "several rows in one"
    return sequences[:count]


def single(sequence: dict[str, list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of a packed sequence by themselves: ids and labels, int64 [1, tokens]."""
    numbers = torch.tensor(sequence["attention_mask"])
    ids, labels = torch.tensor(sequence["input_ids"]), torch.tensor(sequence["labels"])
    return [(ids[numbers == at][None], labels[numbers == at][None]) for at in range(1, int(numbers.max()) + 1)]


def difference(model: nn.Module, alone: nn.Module, batch: Batch, sequences: Sequence[dict[str, list[int]]]) -> float:
    """Largest difference of a logit between packed rows and rows by themselves."""
    rows = [ids for sequence in sequences for ids, _ in single(sequence)]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with torch.no_grad():
        logits = model(**inputs).logits
        expected = torch.cat([alone(input_ids=ids).logits[0] for ids in rows])
    if logits.shape[0] == 1 and len(sequences) > 1:
        return float((logits[0] - expected).abs().max())
    real = torch.stack([torch.tensor(sequence["attention_mask"]) > 0 for sequence in sequences])
    return float((logits[real[:, : logits.shape[1]]] - expected).abs().max())


def isolated(layout: Layout) -> IsolatedCollator:
    return IsolatedCollator(pad_token_id=PAD, layout=layout)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
def test_packed_rows_give_what_rows_alone_give(name: str, attention: str, count: int) -> None:
    model, sequences = make(name, attention), packed(count)
    assert difference(model, model, isolated(Layout.POSITIONS)(sequences), sequences) < 1e-5
    assert difference(model, model, isolated(Layout.FLAT)(sequences), sequences) < 1e-5
    naive = Collator(pad_token_id=PAD)([{**row, "attention_mask": [1] * WIDTH} for row in sequences])
    assert difference(model, model, naive, sequences) > 0.5, "the test would see rows that see each other"


@pytest.mark.slow  # each shape is compiled, for half a minute
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_packed_rows_are_apart_under_flex_attention(name: str, count: int) -> None:
    model, alone, sequences = make(name, "flex_attention"), make(name, "sdpa"), packed(count)
    batch = isolated(Layout.POSITIONS)(sequences)
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False):  # torch 2.13: wrong C++ for dynamic ones on CPU
        assert difference(model, alone, batch, sequences) < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_4d_mask_isolates_too_but_forgets_sliding_windows(attention: str) -> None:
    sequences = packed(2)
    for name, kept_apart in (("llama", True), ("qwen3", True), ("gemma3", False)):
        model = make(name, attention)
        apart = difference(model, model, isolated(Layout.MASK)(sequences), sequences)
        assert apart < 1e-5 if kept_apart else apart > 0.5


def sum_of(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    return tokens.cross_entropy(*tokens.learned(outputs["logits"], labels)).sum()


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("prompt", [0.5, 0.0])
def test_loss_and_gradients_are_those_of_the_rows_by_themselves(layout: Layout, prompt: float) -> None:
    """Weighted by learned tokens; also when prompts are learned, where a row's first label has no context."""
    model, sequences = make("llama", "sdpa").train(), packed(2, prompt=prompt)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    batch = isolated(layout)(sequences)
    labels = batch.pop("labels")
    loss = sum_of(model(**batch), labels) / labels[:, 1:].ne(-100).sum()
    got = torch.autograd.grad(loss, list(model.parameters()))
    rows = [row for sequence in sequences for row in single(sequence)]
    learned = [int((labels[:, 1:] != -100).sum()) for _, labels in rows]
    parts = [sum_of(model(input_ids=ids), labels) for ids, labels in rows]
    expected = torch.stack(parts).sum() / sum(learned)
    assert abs(loss.item() - expected.item()) < 1e-6
    for one, other in zip(got, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
def test_the_probe_finds_the_layout_and_leaves_the_model_as_it_was(name: str, dtype: torch.dtype) -> None:
    model = make(name, "sdpa").to(dtype)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model.train()
    model.lm_head.eval()
    before = torch.get_rng_state()
    collator = isolation.collator(model, PAD, device=CPU)
    assert (collator.layout, collator.dtype) == (Layout.POSITIONS, dtype)
    assert model.training
    assert not model.lm_head.training
    assert torch.equal(before, torch.get_rng_state())
    assert {parameter.grad for parameter in model.parameters()} == {None}


def test_the_probe_computes_as_the_run_does() -> None:
    collator = isolation.collator(make("llama", "sdpa"), PAD, device=CPU, compute=torch.bfloat16)
    assert collator.dtype is torch.bfloat16


def test_the_probe_takes_a_half_precision_base_with_an_adapter_in_full_precision() -> None:
    adapted = get_peft_model(make("llama", "sdpa").to(torch.bfloat16), LoraConfig(target_modules="all-linear"))
    assert {parameter.dtype for parameter in adapted.parameters()} == {torch.bfloat16, torch.float32}
    collator = isolation.collator(adapted, PAD, device=CPU)
    assert (collator.layout, collator.dtype) == (Layout.POSITIONS, torch.bfloat16)


def test_a_model_that_does_not_read_positions_gets_a_mask() -> None:
    reads = int(transformers.__version__.split(".")[0]) >= 5  # GPT-2's mask, since then
    layout = isolation.collator(make("gpt2", "sdpa"), PAD, device=CPU).layout
    assert layout is (Layout.POSITIONS if reads else Layout.MASK)


def test_with_a_cache_transformers_does_not_read_positions() -> None:
    model = make("llama", "sdpa")
    model.config.use_cache = True
    assert isolation.collator(model, PAD, device=CPU).layout is Layout.MASK


def test_a_model_that_carries_state_is_refused() -> None:
    with pytest.raises(isolation.PackedRowsLeak) as told:
        isolation.collator(make("mamba", "eager"), PAD, device=CPU)
    message = str(told.value)
    assert message.startswith(
        "neat_packing: rows of one sequence see each other with flash_attn disabled on this model (mamba; tried "
        "positions: difference "
    )
    assert message.endswith("write packing: true in place of neat_packing")


@pytest.mark.parametrize(
    ("name", "attention", "layouts"),
    [
        ("llama", "sdpa", (Layout.POSITIONS, Layout.MASK)),
        ("gemma3", "eager", (Layout.POSITIONS,)),
        ("llama", "flex_attention", (Layout.POSITIONS,)),
        ("llama", "flash_attention_2", (Layout.FLAT,)),
    ],
)
def test_what_is_tried_depends_on_the_attention(name: str, attention: str, layouts: tuple[Layout, ...]) -> None:
    assert isolation.layouts(attention, make(name, "sdpa").config) == layouts


def test_the_probe_runs_on_a_model_that_zero_3_has_split(tmp_path: Path) -> None:
    make("llama", "sdpa").save_pretrained(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    paths = os.pathsep.join(str(ROOT / part) for part in ("trainer_image", "."))
    done = subprocess.run(
        [*launch, str(Path(__file__).with_name("isolation_rank.py")), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = sorted(line for line in done.stdout.splitlines() if line.startswith("rank "))
    assert told == [f"rank {rank}: positions, 0 weights here" for rank in range(2)]
