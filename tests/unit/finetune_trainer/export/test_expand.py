"""Models and adapters made ready for training: block expansion, PiSSA and LoftQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.tiny_model import make_tiny_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from finetune_trainer import config, export, model
from finetune_trainer.cli import main
from finetune_trainer.export import loftq
from finetune_trainer.export.expand import add_blocks
from finetune_trainer.failures import RunError

IDS = torch.arange(24)[None]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("expanded"))


def loaded(folder: Path, **keys: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **keys).eval()


def answers(lm: Any) -> torch.Tensor:
    with torch.no_grad():
        return lm(IDS).logits  # type: ignore[no-any-return]


@pytest.mark.shows("use_llama_pro")
def test_a_deeper_model_answers_alike_and_its_new_blocks_are_what_moves(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pro"
    assert main(["expand", str(tiny), str(output), "--blocks", "2"]) == 0
    assert "freeze_trainable_layers: 2\nuse_llama_pro: true" in capsys.readouterr().out
    deeper = loaded(output)
    assert deeper.config.num_hidden_layers == len(deeper.model.layers) == 4
    assert (answers(deeper) - answers(loaded(tiny))).abs().max() < 1e-5
    assert deeper.generate(IDS, max_new_tokens=3, do_sample=False).shape[1] == 27, "caches know the new blocks"
    assert AutoTokenizer.from_pretrained(output).chat_template == AutoTokenizer.from_pretrained(tiny).chat_template
    said = {"do_train": True, "model_name_or_path": str(output), "template": "llama3", "use_cpu": True}
    cfg = config.parse({**said, "finetuning_type": "freeze", "use_llama_pro": True, "freeze_trainable_layers": 2})
    pro: Any = model.load(cfg, model.load_tokenizer(cfg), device=torch.device("cpu"))
    moving = {name.split(".")[2] for name, weight in pro.named_parameters() if weight.requires_grad}
    silent = {name.split(".")[2] for name, w in pro.named_parameters() if "down_proj" in name and not w.abs().max()}
    assert moving == silent == {"1", "3"}


def test_lists_with_an_entry_for_each_block_grow() -> None:
    lm = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
                    num_key_value_heads=1, use_sliding_window=True, max_window_layers=2)
    ).eval()  # fmt: skip
    before, kinds = answers(lm), list(lm.config.layer_types)
    assert add_blocks(lm, 2) == 6
    assert lm.config.layer_types == [kinds[0], kinds[1], kinds[1], kinds[2], kinds[3], kinds[3]]
    assert [block.self_attn.layer_idx for block in lm.model.layers] == [*range(6)]
    assert torch.allclose(answers(lm), before, atol=1e-6)


def test_what_cannot_be_expanded_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must divide the model's 2, got 3"):
        export.expand(str(tiny), tmp_path / "a", 3)
    with pytest.raises(RunError, match="holds the model itself"):
        export.expand(str(tiny), tiny, 1)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2))
    with pytest.raises(RunError, match="GPT2Block has no o_proj and down_proj"):
        add_blocks(gpt2, 1)


@pytest.mark.parametrize("iterations", ["2", "-1"])
def test_pissas_base_and_adapter_are_the_model(tiny: Path, tmp_path: Path, iterations: str) -> None:
    words = ["init-adapter", str(tiny), str(tmp_path), "--kind", "pissa", "--rank", "4", "--iterations", iterations]
    assert main(words) == 0
    whole = answers(loaded(tiny))
    assert (answers(loaded(tmp_path)) - whole).abs().max() > 1e-2, "a part is taken out"
    both = PeftModel.from_pretrained(loaded(tmp_path), tmp_path / "pissa_init").eval()
    assert (answers(both) - whole).abs().max() < 1e-4


@pytest.mark.parametrize("bits", [4, 8])
def test_loftqs_adapter_is_what_quantisation_loses(bits: int) -> None:
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    kept, low_a, low_b = loftq.decompose(weight, rank=8, bits=bits, iterations=4)
    once, first_a, first_b = loftq.decompose(weight, rank=8, bits=bits, iterations=1)
    plain = (weight - loftq.quantised(weight, bits)).norm()
    assert torch.allclose(once, loftq.quantised(weight, bits))
    assert (weight - once - first_b @ first_a).norm() < 0.9 * plain
    assert (weight - kept - low_b @ low_a).norm() < 0.9 * plain
    assert torch.allclose(loftq.quantised(kept, bits), kept, atol=1e-5), "quantising again changes nothing"


def test_a_quantised_model_is_nearer_to_the_whole_one_with_loftq(tiny: Path, tmp_path: Path) -> None:
    from transformers import BitsAndBytesConfig

    output = tmp_path / "out"
    words = ["init-adapter", str(tiny), str(output), "--kind", "loftq", "--rank", "16", "--alpha", "48"]
    assert main(words) == 0
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    whole, plain = answers(loaded(tiny)), answers(loaded(tiny, quantization_config=four))
    over = PeftModel.from_pretrained(loaded(output, quantization_config=four), output / "loftq_init").eval()
    assert (answers(over) - whole).norm() < 0.9 * (plain - whole).norm()


def test_wrong_numbers_are_named(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init-adapter", str(tiny), str(tmp_path), "--kind", "loftq", "--bits", "3"]) == 2
    assert "expected 4 or 8 bits" in capsys.readouterr().err
    assert main(["init-adapter", str(tiny), str(tmp_path), "--kind", "pissa", "--target", "c_attn"]) == 2
    assert "--target: this model has no c_attn" in capsys.readouterr().err
