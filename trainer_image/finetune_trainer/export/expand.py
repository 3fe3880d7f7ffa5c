"""`finetune expand`: LLaMA Pro's block expansion, a deeper model that answers as the given one until it is trained.

After every n-th block a copy of it is put whose results are zero, so that it adds nothing to the residual stream.
Sources: LLaMA Pro (arXiv:2401.02415); LLaMA-Factory scripts/llama_pro.py.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from finetune_trainer.export import files
from finetune_trainer.failures import RunError
from finetune_trainer.model import generation
from finetune_trainer.model.precision import DTYPE_ARGUMENT
from finetune_trainer.model.sources import named
from finetune_trainer.model.tuning import blocks

_RESULTS = ("o_proj", "down_proj")
"""The last layers of attention and MLP in llama's relatives."""
_PROBE = 16
"""Tokens that both models are compared on."""
_TOLERANCE = 1e-3


def expand(source: str, output: Path, count: int, *, size: int = 5, trust_remote_code: bool = False) -> int:
    """Write the model with `count` more blocks, and its tokenizer, to `output`; returns how many it has then.

    Args:
        source: hub id or folder of a model like llama, mistral or qwen.
        output: where to.
        count: blocks to add; it divides the number of the model's blocks.
        size: of the largest file, in GB.
        trust_remote_code: run code that comes with the model.

    Raises:
        RunError: the count does not divide, or the model is not built so that copies can be made to add nothing.
        ModelNotFound: there is no such model.
    """
    if output.resolve() == Path(source).resolve():
        raise RunError(f"{output} holds the model itself; write to another folder")
    arguments: dict[str, Any] = {DTYPE_ARGUMENT: "auto", "trust_remote_code": trust_remote_code}
    with named(source, "model") as found:
        tokenizer = AutoTokenizer.from_pretrained(found, trust_remote_code=trust_remote_code)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(found, **arguments)
    before = _answers(model)
    total = add_blocks(model, count)
    if not torch.allclose(_answers(model), before, atol=_TOLERANCE * float(before.abs().max())):
        raise RunError(
            f"{type(model).__name__}: with the added blocks the model answers otherwise; expansion knows models like "
            "llama, whose blocks add the results of o_proj and down_proj"
        )
    output.mkdir(parents=True, exist_ok=True)
    generation.make_valid(model)
    files.save(model, output, size=size)
    tokenizer.save_pretrained(str(output))
    return total


def add_blocks(model: PreTrainedModel, count: int) -> int:
    """Put the copies in, in place; returns the number of blocks then.

    Raises:
        RunError: the count does not divide, or the copies cannot be made to add nothing.
    """
    found = blocks.find(model)
    if count < 1 or found.count % count:
        raise RunError(f"the number of added blocks must divide the model's {found.count}, got {count}")
    stride = found.count // count
    held = model.get_submodule(found.prefix)
    assert isinstance(held, nn.ModuleList)
    grown = nn.ModuleList()
    for number, block in enumerate(held, start=1):
        grown.append(block)
        if number % stride == 0:
            grown.append(_silent_copy(block))
    _renumber(grown)
    parent, _, name = found.prefix.rpartition(".")
    setattr(model.get_submodule(parent), name, grown)
    _describe(model.config.get_text_config(), found.count, stride)
    return len(grown)


def _silent_copy(block: nn.Module) -> nn.Module:
    made = copy.deepcopy(block)
    silent = [weight for name, weight in made.named_parameters() if any(part in name for part in _RESULTS)]
    if not all(any(part in name for name, _ in made.named_parameters()) for part in _RESULTS):
        raise RunError(f"{type(block).__name__} has no {' and '.join(_RESULTS)}; expansion knows models like llama")
    with torch.no_grad():
        for weight in silent:
            weight.zero_()
    return made


def _renumber(grown: nn.ModuleList) -> None:
    """Caches of keys and values go by the numbers that blocks and their parts hold."""
    for number, block in enumerate(grown):
        for module in block.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = number  # type: ignore[assignment] # no tensor


def _describe(config: Any, count: int, stride: int) -> None:  # noqa: ANN401 - a model's configuration
    """Lists with an entry for each block, such as layer_types, grow with them."""
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == count:
            grown = [one for number, entry in enumerate(value, start=1) for one in _twice(entry, number, stride)]
            setattr(config, name, grown)
    config.num_hidden_layers = count + count // stride


def _twice(entry: object, number: int, stride: int) -> list[object]:
    return [entry, entry] if number % stride == 0 else [entry]


def _answers(model: PreTrainedModel) -> torch.Tensor:
    """Logits [1, tokens, vocabulary] of a few tokens, in float32."""
    model.train(mode=False)
    with torch.no_grad():
        logits: torch.Tensor = model(torch.arange(_PROBE)[None], use_cache=False).logits
    return logits.float()
