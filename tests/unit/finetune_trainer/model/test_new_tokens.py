"""New tokens: in the tokenizer, in the embeddings, in what is saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM

from finetune_trainer import config, model
from finetune_trainer.failures import RunError
from finetune_trainer.model import vocabulary

WORDS = "<|begin|> and <|close|> of <a>"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tokens"), tied=request.param)


def cfg(tiny: Path, **keys: Any) -> config.TrainConfig:
    said = {"do_train": True, "model_name_or_path": str(tiny), "template": "llama3", "finetuning_type": "full"}
    return config.parse({**said, "use_cpu": True, "disable_gradient_checkpointing": True, **keys})


def load(found: config.TrainConfig) -> tuple[Any, Any]:
    tokenizer = model.load_tokenizer(found)
    return model.load(found, tokenizer, device=torch.device("cpu")), tokenizer


@pytest.mark.shows("add_tokens", "add_special_tokens", "resize_vocab")
def test_new_tokens_get_rows_in_multiples_of_64(tiny: Path) -> None:
    known = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).get_input_embeddings().weight
    loaded, tokenizer = load(cfg(tiny, add_tokens="<a>", add_special_tokens="<|begin|>,<|close|>"))
    pieces = tokenizer.tokenize(WORDS)
    assert [piece for piece in pieces if "<" in piece] == ["<|begin|>", "<|close|>", "<a>"]
    assert tokenizer.decode(tokenizer(WORDS)["input_ids"], skip_special_tokens=True).strip().endswith("<a>")
    plain = model.load_tokenizer(cfg(tiny))
    assert len(tokenizer) == len(plain) + 3
    assert len(plain.tokenize(WORDS)) > len(pieces)
    rows = loaded.get_input_embeddings().weight
    assert len(rows) % vocabulary.MULTIPLE == 0
    assert len(rows) >= len(tokenizer)
    assert torch.equal(rows[: len(known)], known)
    new = rows[len(known) :] - known.mean(dim=0)
    assert new.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.1)
    assert loaded.config.vocab_size == loaded.get_output_embeddings().weight.shape[0] == len(rows)
    resized, _ = load(cfg(tiny, resize_vocab=True))
    assert len(resized.get_input_embeddings().weight) == len(known), "the tokenizer's tokens all have a row already"


def test_the_first_rows_follow_from_the_seed(tiny: Path) -> None:
    torch.manual_seed(1)
    one, _ = load(cfg(tiny, add_tokens="<a>", seed=3))
    other, _ = load(cfg(tiny, add_tokens="<a>", seed=3))
    third, _ = load(cfg(tiny, add_tokens="<a>", seed=4))
    rows = [each.get_input_embeddings().weight for each in (one, other, third)]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


@pytest.mark.shows("new_special_tokens_config", "init_special_tokens")
def test_described_tokens_begin_as_their_descriptions_mean(tiny: Path, tmp_path: Path) -> None:
    described = tmp_path / "tokens.yaml"
    described.write_text("'<|river|>': river stone\n'<|lamp|>': lamp\n", encoding="utf-8")
    keys = {"new_special_tokens_config": str(described)}
    loaded, tokenizer = load(cfg(tiny, **keys, init_special_tokens="desc_init"))
    for matrix in (loaded.get_input_embeddings().weight, loaded.get_output_embeddings().weight):
        for token, words in (("<|river|>", "river stone"), ("<|lamp|>", "lamp")):
            ids = tokenizer(words, add_special_tokens=False)["input_ids"]
            begun = matrix[tokenizer.convert_tokens_to_ids(token)]
            assert torch.allclose(begun, matrix[ids].mean(dim=0), atol=1e-6)
    noisy, _ = load(cfg(tiny, **keys, init_special_tokens="desc_init_w_noise"))
    drawn, _ = load(cfg(tiny, **keys))
    river = tokenizer.convert_tokens_to_ids("<|river|>")
    rows = [each.get_input_embeddings().weight[river] for each in (loaded, noisy, drawn)]
    assert 0.05 < (rows[1] - rows[0]).std() < 0.2
    assert not torch.equal(rows[0], rows[2])


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "can't be read"), ("- a\n", "expected lines such as"), ("'<a>': 3\n", "expected lines"), (": [", "not a")],
)
def test_a_wrong_file_of_tokens_is_named(tiny: Path, tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "tokens.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=f"new_special_tokens_config: .*{told}"):
        model.load_tokenizer(cfg(tiny, new_special_tokens_config=str(path)))


def test_a_described_token_in_a_spare_row_begins_as_described() -> None:
    weight = torch.arange(12.0).reshape(6, 2)
    draw = torch.Generator().manual_seed(0)
    made = vocabulary.first_rows(weight, 6, {5: [0, 1, 5]}, draw, noisy=False)
    assert torch.equal(made[:5], weight[:5])
    assert made[5].tolist() == [1.0, 2.0], "the mean of rows 0 and 1; its own is not learned"


@pytest.mark.parametrize("kind", ["lora", "oft"])
def test_an_adapter_saves_the_new_rows(tiny: Path, tmp_path: Path, kind: str) -> None:
    found = cfg(tiny, finetuning_type=kind, add_tokens="<a>", additional_target="model.norm")
    adapted, tokenizer = load(found)
    beside = {
        name.split(".")[-4] for name, one in adapted.named_parameters() if one.requires_grad and "modules" in name
    }
    assert "embed_tokens" in beside
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(0.01 * torch.randn_like(weight))
    ids = torch.tensor([tokenizer("<a> b <a>")["input_ids"]])
    expected = adapted.eval()(ids).logits
    adapted.save_pretrained(tmp_path)
    again, _ = load(cfg(tiny, finetuning_type=kind, add_tokens="<a>", seed=99, adapter_name_or_path=str(tmp_path)))
    assert isinstance(again, PeftModel)
    assert (again.eval()(ids).logits - expected).abs().max() < 1e-5
    with pytest.raises(RunError, match=r"does not fit this model: .*size mismatch.* say add_tokens"):
        load(cfg(tiny, finetuning_type=kind, adapter_name_or_path=str(tmp_path)))


@pytest.mark.shows("split_special_tokens")
def test_special_tokens_in_text_are_split_on_wish(tiny: Path) -> None:
    whole, split = (model.load_tokenizer(cfg(tiny, split_special_tokens=wish)) for wish in (False, True))
    text = f"a {whole.eos_token} b"
    assert whole.eos_token_id in whole(text, add_special_tokens=False)["input_ids"]
    assert split.eos_token_id not in split(text, add_special_tokens=False)["input_ids"]
