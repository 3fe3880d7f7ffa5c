"""Mixtures of experts under ZeRO-3: each block of experts is gathered whole.

Ranks send their tokens to different experts, and a gather of one expert's weights that only some ranks take part in
never ends. Source for the names: LLaMA-Factory, model/model_utils/moe.py.
"""

from __future__ import annotations

from torch import nn

BLOCKS = frozenset(
    {"DbrxFFN", "DeepseekV2MoE", "DeepseekV3MoE", "HYV3MoE", "Ernie4_5_MoeSparseMoeBlock", "GraniteMoeMoE",
     "Glm4MoeMoE", "Glm4MoeLiteMoE", "Glm4vMoeTextMoE", "GptOssMLP", "JambaSparseMoeBlock", "JetMoeMoA", "JetMoeMoE",
     "Llama4TextMoe", "MixtralSparseMoeBlock", "OlmoeSparseMoeBlock", "PhimoeSparseMoeBlock", "Qwen2MoeSparseMoeBlock",
     "Qwen3MoeSparseMoeBlock", "Qwen3VLMoeTextSparseMoeBlock", "Qwen3OmniMoeThinkerTextSparseMoeBlock",
     "Qwen3NextSparseMoeBlock", "Qwen3_5MoeSparseMoeBlock"}
)  # fmt: skip
"""Class names, of transformers and of remote code (deepseek's, hunyuan's)."""
ENDS = ("SparseMoeBlock", "MoE")
"""How models that are younger than this list call theirs."""


def keep_whole(model: nn.Module) -> list[str]:
    """Tell DeepSpeed which blocks to gather as one; call it under ZeRO-3 alone. Returns their class names."""
    found = sorted({type(module).__name__ for module in model.modules() if is_block(module)})
    if found:
        from deepspeed.utils import set_z3_leaf_modules

        set_z3_leaf_modules(model, found)
    return found


def is_block(module: nn.Module) -> bool:
    """Whether tokens of a batch take different ways through it."""
    name = type(module).__name__
    return name in BLOCKS or name.endswith(ENDS)
