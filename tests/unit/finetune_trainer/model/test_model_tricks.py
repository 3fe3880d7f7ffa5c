"""Attention, positions, routers, number types, checkpointing: each changes what it is for, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_model import make_tiny_model
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    MixtralForCausalLM,
)

from finetune_trainer import config, model
from finetune_trainer.failures import RunError
from finetune_trainer.model import activation_memory, activations, kernels, shifted
from finetune_trainer.model import attention as attentions

LONG = 1024
"""Twice the tiny model's 512 positions."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def ids(length: int = 48, rows: int = 2) -> torch.Tensor:
    return torch.randint(5, 500, (rows, length), generator=torch.Generator().manual_seed(0))


def cfg(folder: Path | str, **keys: Any) -> config.TrainConfig:
    said = {
        "do_train": True,
        "model_name_or_path": str(folder),
        "dataset": "d",
        "template": "llama3",
        "output_dir": "o",
    }
    return config.parse({**said, "finetuning_type": "full", "use_cpu": True, **keys})


def load(folder: Path, *, free: int | None = None, **keys: Any) -> Any:
    found = cfg(folder, **keys)
    torch.manual_seed(0)
    return model.load(found, model.load_tokenizer(found), device=torch.device("cpu"), memory=lambda: free)


def logits(loaded: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = loaded.eval()(input_ids=tokens).logits
    return found


# Attention


@pytest.mark.shows("flash_attn")
def test_flash_attn_chooses_the_kernel(tiny: Path) -> None:
    """The plain kernel alone gives attention weights, and adds up in another order."""
    plain, fused = load(tiny, flash_attn="disabled"), load(tiny, flash_attn="sdpa")
    weights = [found.eval()(input_ids=ids(), output_attentions=True).attentions for found in (plain, fused)]
    assert weights[0][0] is not None
    assert not weights[1] or weights[1][0] is None
    assert torch.allclose(logits(plain, ids()), logits(fused, ids()), atol=1e-4)


@pytest.mark.shows("flash_attn")
@pytest.mark.parametrize("wish", ["fa2", "fa3", "flex"])
def test_kernels_for_gpus_are_refused_without_one(tiny: Path, wish: str) -> None:
    with pytest.raises(
        RunError, match=f"flash_attn: {wish} needs a GPU, and this run has none; write flash_attn: sdpa"
    ):
        load(tiny, flash_attn=wish)


def test_kernels_for_gpus_need_their_package_and_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_trainer.model.precision.on_gpu", lambda cfg: True)
    plain = LlamaConfig()
    assert attentions.chosen(cfg("m", flash_attn="flex"), plain) == {"attn_implementation": "flex_attention"}
    with pytest.raises(RunError, match="fa2 needs the Python package flash-attn, which is not installed here"):
        attentions.chosen(cfg("m", flash_attn="fa2"), plain)
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: True)
    with pytest.raises(RunError, match="fa2 computes in half precision only; write bf16: true"):
        attentions.chosen(cfg("m", flash_attn="fa2"), plain)
    found = attentions.chosen(cfg("m", flash_attn="fa2", bf16=True), plain)
    assert found == {"attn_implementation": "flash_attention_2"}


def test_models_that_cap_scores_or_have_sinks_get_a_kernel_that_can() -> None:
    assert attentions.chosen(cfg("m"), Gemma2Config()) == {"attn_implementation": "eager"}
    with pytest.raises(RunError, match="sdpa cannot cap attention scores, which a model of type gemma2 does"):
        attentions.chosen(cfg("m", flash_attn="sdpa"), Gemma2Config())
    assert attentions.chosen(cfg("m"), GptOssConfig()) == {}


# LongLoRA


def s2_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, group: int, *, leak: bool
) -> torch.Tensor:
    """LLaMA-Factory's formula (model_utils/longlora.py): roll half of the heads, attend inside groups, roll back.

    Without the leak, tokens of the group that the roll put together attend only to earlier positions.
    """
    rows, heads, length, width = query.shape
    groups, half = length // group, heads // 2

    def shift(states: torch.Tensor) -> torch.Tensor:
        turned = states.transpose(1, 2)
        turned = torch.cat((turned[:, :, :half], turned[:, :, half:].roll(-group // 2, dims=1)), dim=2)
        return turned.reshape(rows * groups, group, heads, width).transpose(1, 2)

    scores = shift(query) @ shift(key).transpose(2, 3) / math.sqrt(width)
    order = torch.arange(length)
    position = torch.stack([order, order.roll(-group // 2)]).reshape(2, groups, group)
    seen = torch.ones(group, group, dtype=torch.bool).tril().expand(2, groups, group, group)
    if not leak:
        seen = seen & (position[..., :, None] >= position[..., None, :])
    seen = seen.repeat_interleave(half, dim=0).transpose(0, 1).repeat(rows, 1, 1, 1)
    attended = scores.masked_fill(~seen, -math.inf).softmax(-1) @ shift(value)
    turned = attended.transpose(1, 2).reshape(rows, length, heads, width)
    return torch.cat((turned[:, :, :half], turned[:, :, half:].roll(group // 2, dims=1)), dim=2)


def shift_attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, group: int) -> torch.Tensor:
    layer = nn.Module().train()
    return shifted.shifted_sparse(layer, query, key, value, None, group=group)[0]


def states(length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, length, 8, generator=draw)
    key, value = (torch.randn(2, 2, length, 8, generator=draw) for _ in range(2))
    return query, key, value


def test_shifted_attention_is_the_papers_but_for_the_tokens_that_would_see_the_last() -> None:
    query, key, value = states(32)
    repeated = [found.repeat_interleave(2, dim=1) for found in (key, value)]
    ours = shift_attended(query, key, value, 8)
    assert torch.allclose(ours, s2_attention(query, *repeated, 8, leak=False), atol=1e-6)
    theirs = s2_attention(query, *repeated, 8, leak=True)
    assert torch.allclose(ours[:, 4:], theirs[:, 4:], atol=1e-6)
    assert torch.allclose(ours[:, :, :2], theirs[:, :, :2], atol=1e-6)
    assert not torch.allclose(ours[:, :4], theirs[:, :4], atol=1e-2)


def test_shifted_attention_never_looks_ahead_whatever_the_length() -> None:
    for length in (3, 8, 13, 32):
        query, key, value = states(length)
        before = shift_attended(query, key, value, 8)
        changed = value.clone()
        changed[:, :, -1] += 1
        assert torch.equal(before[:, :-1], shift_attended(query, key, changed, 8)[:, :-1])
        assert before.shape == (2, length, 4, 8)


@pytest.mark.shows("shift_attn")
def test_shift_attn_trains_sparsely_and_evaluates_in_full(tiny: Path) -> None:
    plain, sparse = load(tiny, cutoff_len=64), load(tiny, cutoff_len=64, shift_attn=True)
    assert torch.allclose(logits(plain, ids()), logits(sparse, ids()), atol=1e-5)
    trained = [found.train()(input_ids=ids()).logits for found in (plain, sparse)]
    assert torch.allclose(trained[0][:, :8], trained[1][:, :8], atol=1e-4), "inside half a group nothing changes"
    assert not torch.allclose(trained[0][:, 8:], trained[1][:, 8:], atol=1e-2)
    trained[1].sum().backward()


def test_shift_attn_knows_llama_only() -> None:
    with pytest.raises(RunError, match="shift_attn: only for models of type llama, not mixtral; long rows take less"):
        attentions.chosen(cfg("m", shift_attn=True), MixtralConfig())


# Positions


@pytest.mark.shows("rope_scaling")
@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_rope_scaling_stretches_positions(tiny: Path, kind: str) -> None:
    plain, stretched = load(tiny), load(tiny, rope_scaling=kind, cutoff_len=LONG - 100)
    long = ids(LONG, rows=1)
    assert not torch.allclose(logits(plain, long)[:, 512:], logits(stretched, long)[:, 512:], atol=1e-2)
    reached = stretched.config.max_position_embeddings
    assert reached == (512 if kind == "dynamic" else LONG)
    rotary = stretched.model.rotary_emb
    cos = rotary(torch.zeros(1, LONG, 64), torch.arange(LONG)[None])[0][0]
    was = plain.model.rotary_emb(torch.zeros(1, LONG, 64), torch.arange(LONG)[None])[0][0]
    if kind == "linear":
        assert torch.allclose(cos[::2], was[: LONG // 2], atol=1e-4), "every position at half its place"
    else:
        assert (cos / was.abs().max())[:, 7].std() < was[:, 7].std(), "slow rotations become slower"


def test_dynamic_rope_leaves_short_rows_as_they_are(tiny: Path) -> None:
    """LLaMA-Factory raises max_position_embeddings too, beyond which alone transformers stretches: no effect there."""
    short, stretched = ids(256, rows=1), load(tiny, rope_scaling="dynamic", cutoff_len=LONG)
    assert torch.equal(logits(load(tiny), short), logits(stretched, short))


@pytest.mark.shows("rope_scaling")
def test_rope_scaling_that_would_do_nothing_is_refused(tiny: Path) -> None:
    with pytest.raises(
        RunError, match="the model reaches 512 positions by itself, and cutoff_len is 512; leave it out"
    ):
        load(tiny, rope_scaling="yarn", cutoff_len=512)


def test_positions_are_saved_with_the_model(tiny: Path, tmp_path: Path) -> None:
    stretched = load(tiny, rope_scaling="yarn", cutoff_len=LONG)
    stretched.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again, ids(LONG, rows=1)), logits(stretched, ids(LONG, rows=1)))


# Routers


@pytest.fixture(scope="module")
def experts(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    settings = json.loads((tiny / "config.json").read_text())
    torch.manual_seed(0)
    mixture = MixtralConfig(
        vocab_size=settings["vocab_size"], hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, max_position_embeddings=512,
        initializer_range=0.1,
    )  # fmt: skip
    MixtralForCausalLM(mixture).save_pretrained(folder)
    return folder


@pytest.mark.shows("moe_aux_loss_coef")
def test_moe_aux_loss_coef_adds_the_routers_loss(experts: Path) -> None:
    plain, balanced = load(experts), load(experts, moe_aux_loss_coef=0.5)
    without, with_it = (found(input_ids=ids(), labels=ids()) for found in (plain, balanced))
    assert without.aux_loss is None
    assert torch.allclose(with_it.loss, without.loss + 0.5 * with_it.aux_loss, atol=1e-5)


@pytest.mark.shows("moe_aux_loss_coef")
def test_the_routers_loss_moves_the_routers_whatever_is_checkpointed(experts: Path) -> None:
    """Re-entrant checkpointing, the default, would hide it from the gradient."""
    found = []
    for keys in ({}, {"use_reentrant_gc": False}, {"disable_gradient_checkpointing": True}):
        loaded = load(experts, moe_aux_loss_coef=0.5, **keys).train()
        loaded(input_ids=ids(), labels=ids()).aux_loss.backward()
        found.append([weight.grad for name, weight in loaded.named_parameters() if name.endswith("mlp.gate.weight")])
    assert all(gradient.norm() > 1e-3 for gradient in found[2])
    for gradients in found[:2]:
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(gradients, found[2], strict=True))


@pytest.mark.shows("moe_aux_loss_coef")
def test_a_model_without_routers_is_named(tiny: Path) -> None:
    with pytest.raises(RunError, match="moe_aux_loss_coef: a model of type llama adds no balancing loss"):
        load(tiny, moe_aux_loss_coef=0.1)


# Number types


@pytest.mark.shows("upcast_layernorm")
def test_norms_in_float32(tiny: Path) -> None:
    keys = {"bf16": True, "finetuning_type": "lora"}
    plain, upcast = load(tiny, **keys), load(tiny, upcast_layernorm=True, **keys)
    types = [
        {weight.dtype for name, weight in found.named_parameters() if "norm" in name} for found in (plain, upcast)
    ]
    assert types == [{torch.bfloat16}, {torch.float32}]
    assert upcast.get_memory_footprint() > plain.get_memory_footprint()
    with torch.autocast("cpu", torch.bfloat16):
        one, other = (logits(found, ids()).float() for found in (plain, upcast))
    assert torch.allclose(one, other, atol=0.05), "mixed precision turns the norms' results back"


@pytest.mark.shows("upcast_layernorm")
def test_norms_in_float32_need_mixed_precision(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_trainer.model.precision.weights_dtype", lambda cfg, stored: torch.bfloat16)
    with pytest.raises(RunError, match="upcast_layernorm: the model computes in bfloat16 without mixed precision"):
        load(tiny, upcast_layernorm=True)


@pytest.mark.shows("upcast_lmhead_output")
def test_logits_in_float32(tiny: Path) -> None:
    found = [logits(load(tiny, pure_bf16=True, **keys), ids()) for keys in ({}, {"upcast_lmhead_output": True})]
    assert [one.dtype for one in found] == [torch.bfloat16, torch.float32]
    assert torch.equal(found[0].float(), found[1])


@pytest.mark.shows("pure_bf16")
def test_pure_bf16_halves_the_weights(tiny: Path) -> None:
    mixed, pure = load(tiny, bf16=True), load(tiny, pure_bf16=True)
    assert pure.get_memory_footprint() == pytest.approx(mixed.get_memory_footprint() / 2, rel=0.01)


@pytest.mark.shows("fp8")
def test_fp8_needs_a_gpu(tiny: Path) -> None:
    with pytest.raises(RunError, match="fp8: needs a GPU that computes in FP8"):
        load(tiny, fp8=True, bf16=True)


def test_fp8_takes_layers_whose_widths_fit(tiny: Path) -> None:
    named = {name: module for name, module in load(tiny).named_modules() if isinstance(module, nn.Linear)}
    taken = {name for name, module in named.items() if kernels.takes_fp8(module, name)}
    assert taken == set(named) - {"lm_head"}
    assert not kernels.takes_fp8(nn.Linear(24, 16), "up_proj")
    assert not kernels.takes_fp8(nn.Embedding(16, 16), "table")


# Liger


@pytest.mark.shows("enable_liger_kernel", "use_liger_kernel")
@pytest.mark.parametrize("key", ["enable_liger_kernel", "use_liger_kernel"])
def test_liger_needs_a_gpu(tiny: Path, key: str) -> None:
    with pytest.raises(RunError, match=f"{key}: Liger's kernels are written for GPUs, and this run has none"):
        load(tiny, **{key: True})


@pytest.mark.shows("liger_kernel_config")
def test_liger_fuses_the_loss_only_where_nobody_looks_at_logits() -> None:
    wish = {"enable_liger_kernel": True, "liger_kernel_config": {"rope": False}}
    assert kernels.liger_settings(cfg("m", **wish)) == {"rope": False}
    paired = kernels.liger_settings(cfg("m", stage="rm", finetuning_type="lora", **wish))
    assert paired == {"rope": False, "cross_entropy": True, "fused_linear_cross_entropy": False}


# Gradient checkpointing


def step(loaded: Any) -> tuple[float, list[torch.Tensor], int]:
    """Loss, gradients, and how many bytes of activations the forward pass keeps."""
    kept: dict[int, int] = {}
    weights = {weight.data_ptr() for weight in loaded.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    loaded.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loaded(input_ids=ids(256), labels=ids(256)).loss
    loss.backward()
    return float(loss.detach()), [weight.grad.clone() for weight in loaded.parameters()], sum(kept.values())


@pytest.mark.shows("disable_gradient_checkpointing", "use_reentrant_gc")
def test_checkpointing_keeps_less_and_changes_nothing(tiny: Path) -> None:
    whole = step(load(tiny, disable_gradient_checkpointing=True))
    for reentrant in (True, False):
        spared = step(load(tiny, use_reentrant_gc=reentrant))
        assert spared[0] == whole[0]
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(spared[1], whole[1], strict=True))
        assert spared[2] < 0.7 * whole[2]


GB = 2**30


@pytest.mark.shows("disable_gradient_checkpointing")
@pytest.mark.parametrize(
    ("free", "keys", "spared"),
    [
        (GB, {}, False),
        (20 * 2**20, {}, True),  # of which 8 rows of 1,024 tokens would fill more
        (None, {}, True),
        (GB, {"disable_gradient_checkpointing": False}, True),
        (GB, {"gradient_checkpointing": True}, True),
        (GB, {"use_reentrant_gc": False}, True),
        (GB, {"flash_attn": "disabled"}, True),  # its memory grows with the square of a row's length
        (GB, {"deepspeed": "zero2"}, True),
        (20 * 2**20, {"disable_gradient_checkpointing": True}, False),
    ],
)
def test_activations_are_kept_where_there_is_room_and_nobody_said_otherwise(
    tiny: Path, free: int | None, keys: dict[str, Any], spared: bool
) -> None:
    rows = {"per_device_train_batch_size": 8, "cutoff_len": 1024}
    assert model.is_spared(load(tiny, free=free, **rows, **keys)) is spared


@pytest.mark.parametrize("keys", [{}, {"bf16": True}])
def test_what_a_token_keeps_is_measured_and_leaves_no_trace(tiny: Path, keys: dict[str, Any]) -> None:
    """As many bytes as longer rows keep for each of their tokens, beside the weights in half precision."""
    loaded = load(tiny, disable_gradient_checkpointing=True, **keys)
    before = torch.random.get_rng_state()
    once, each = activation_memory.needs(cfg(tiny, **keys), loaded)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(weight.grad is None for weight in loaded.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(keys)):
        assert once + each * ids(256).numel() == pytest.approx(step(loaded)[2], rel=0.05)
    linear = sum(layer.weight.numel() for layer in loaded.modules() if isinstance(layer, torch.nn.Linear))
    assert once == pytest.approx(2 * linear if keys else 0, rel=0.05, abs=1e4)


@pytest.mark.shows("use_reentrant_gc")
def test_use_reentrant_gc_chooses_the_kind(tiny: Path) -> None:
    """Only the re-entrant kind puts a node of its own into the graph."""
    for reentrant in (True, False):
        loaded = load(tiny, use_reentrant_gc=reentrant).train()
        graph, names = [loaded(input_ids=ids()).logits.grad_fn], set()
        while graph:
            node = graph.pop()
            names.add(node.name())
            graph += [parent for parent, _ in node.next_functions if parent is not None]
        assert ("CheckpointFunctionBackward" in names) is reentrant


@pytest.mark.shows("use_unsloth_gc")
def test_activations_in_the_hosts_memory_change_nothing_and_need_a_gpu(tiny: Path) -> None:
    whole = step(load(tiny, disable_gradient_checkpointing=True))
    for reentrant in (True, False):
        loaded = load(tiny, disable_gradient_checkpointing=True)
        activations.offload(loaded, use_reentrant=reentrant, pin=False)
        loaded.enable_input_require_grads()
        moved = step(loaded)
        assert moved[0] == whole[0]
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(moved[1], whole[1], strict=True))
    with pytest.raises(RunError, match="use_unsloth_gc: needs a GPU, from which it moves activations"):
        load(tiny, use_unsloth_gc=True)


def test_a_model_that_knows_no_checkpointing_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.LlamaPreTrainedModel.supports_gradient_checkpointing", False)
    with pytest.raises(
        RunError, match="disable_gradient_checkpointing: a model of type llama knows no gradient check"
    ):
        load(tiny)
    assert functional.softmax(logits(load(tiny, disable_gradient_checkpointing=True), ids()), -1).isfinite().all()
