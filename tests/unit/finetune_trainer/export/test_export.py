"""`finetune export`: what is written answers as base and adapters do, and belongs together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from tests.tiny_model import make_tiny_model
from tests.unit.finetune_trainer.export.adapted import adapter, answers, cfg
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune_trainer import export
from finetune_trainer.cli import main
from finetune_trainer.export import gptq
from finetune_trainer.failures import RunError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("exported"))


KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "oft": {"finetuning_type": "oft"},
    "beside": {"additional_target": "model.norm,embed_tokens"},
    "tokens": {"add_tokens": "<a>,<b>"},
}


@pytest.mark.shows("export_dir", "adapter_name_or_path")
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_answers_as_base_and_adapter(tiny: Path, tmp_path: Path, kind: str) -> None:
    expected = answers(adapter(tiny, tmp_path / "adapter", **KINDS[kind]))
    words = {"model_name_or_path": str(tiny), "adapter_name_or_path": str(tmp_path / "adapter"), "template": "llama3"}
    (tmp_path / "merge.yaml").write_text(yaml.safe_dump({**words, "export_dir": str(tmp_path / "merged")}))
    assert main(["export", str(tmp_path / "merge.yaml"), "export_size=1"]) == 0
    assert (answers(tmp_path / "merged") - expected).abs().max() < 1e-5
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    rows = json.loads((tmp_path / "merged" / "config.json").read_text())["vocab_size"]
    assert len(tokenizer) <= rows
    assert ("<a>" in tokenizer.get_vocab()) is (kind == "tokens")
    assert tokenizer.padding_side == "left"
    assert tokenizer.chat_template
    assert (tmp_path / "merged" / "generation_config.json").exists()


def test_several_adapters_are_merged_in_their_order(tiny: Path, tmp_path: Path) -> None:
    adapter(tiny, tmp_path / "one")
    both = adapter(tiny, tmp_path / "two", adapter_name_or_path=str(tmp_path / "one"), create_new_adapter=True)
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    export.export(cfg(tiny, adapter_name_or_path=names, export_dir=str(tmp_path / "merged")))
    assert (answers(tmp_path / "merged") - answers(both)).abs().max() < 1e-4


@pytest.mark.shows("infer_dtype", "export_size", "export_legacy_format", "export_device")
def test_type_and_files_are_as_said(tiny: Path, tmp_path: Path) -> None:
    half = make_tiny_model(tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(half)
    kept, turned, legacy = (tmp_path / name for name in ("kept", "turned", "legacy"))
    export.export(cfg(half, export_dir=str(kept), export_device="auto"))
    export.export(cfg(half, export_dir=str(turned), infer_dtype="float16"))
    types = [AutoModelForCausalLM.from_pretrained(folder, dtype="auto").dtype for folder in (kept, turned)]
    assert types == [torch.bfloat16, torch.float16]
    for _ in range(2):  # the second time over the first one's files
        export.export(cfg(tiny, export_dir=str(legacy), export_legacy_format=True))
    assert [path.name for path in legacy.glob("*model*")] == ["pytorch_model.bin"]
    assert torch.equal(answers(legacy), answers(tiny))
    export.files.save(AutoModelForCausalLM.from_pretrained(tiny), legacy, size=1)
    assert [path.name for path in legacy.glob("*model*")] == ["model.safetensors"]


def test_large_models_are_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    lm = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    whole = lm.save_pretrained
    monkeypatch.setattr(lm, "save_pretrained", lambda folder, max_shard_size: whole(folder, max_shard_size="200KB"))
    export.files.save(lm, tmp_path, size=1, legacy=True)
    assert len([*tmp_path.glob("pytorch_model-*.bin")]) > 1
    assert torch.equal(answers(tmp_path), answers(tiny))


@pytest.mark.shows("stage")
def test_a_reward_models_head_goes_along(tiny: Path, tmp_path: Path) -> None:
    adapter(tiny, tmp_path / "reward")
    keys = {"adapter_name_or_path": str(tmp_path / "reward"), "stage": "rm", "export_dir": str(tmp_path / "out")}
    with pytest.raises(RunError, match=r"stage: rm, but .* holds no value_head\.safetensors"):
        export.export(cfg(tiny, **keys))
    (tmp_path / "reward" / "value_head.safetensors").write_bytes(b"head")
    export.export(cfg(tiny, **keys))
    assert (tmp_path / "out" / "value_head.safetensors").read_bytes() == b"head"


def test_ollama_is_told_the_template(tiny: Path, tmp_path: Path) -> None:
    export.export(cfg(tiny, export_dir=str(tmp_path), default_system="Be kind."))
    text = (tmp_path / "Modelfile").read_text()
    assert "FROM .\n" in text
    assert "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end }}" in text
    assert '{{ if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Content }}<|eot_id|>' in text
    assert 'SYSTEM """Be kind."""' in text
    assert 'PARAMETER stop "<|eot_id|>"' in text


def test_what_cannot_be_exported_is_named(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="export_dir: missing"):
        export.export(cfg(tiny))
    with pytest.raises(RunError, match="holds what is exported; write to another folder"):
        export.export(cfg(tiny, export_dir=str(tiny)))
    assert main(["export", "--model_name_or_path", str(tiny), "--export_dir", str(tiny), "--template", "llama3"]) == 2
    assert "write to another folder" in capsys.readouterr().err


def test_adapters_are_not_merged_into_quantised_weights(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    adapter(tiny, tmp_path / "adapter")
    four = AutoModelForCausalLM.from_pretrained(tiny, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
    four.save_pretrained(tmp_path / "four")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "four")
    keys = {"adapter_name_or_path": str(tmp_path / "adapter"), "export_dir": str(tmp_path / "out")}
    with pytest.raises(RunError, match="is quantised, and adapters cannot be merged into such weights"):
        export.export(cfg(tmp_path / "four", **keys))


@pytest.mark.shows("export_hub_model_id")
def test_a_hub_that_takes_nothing_is_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RunError, match=r"export_hub_model_id: me/it could not be written .* complete in .*HF_TOKEN"):
        export.export(cfg(tiny, export_dir=str(tmp_path), export_hub_model_id="me/it"))
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.shows("export_quantization_bit")
@pytest.mark.skipif(gptq.find_spec("gptqmodel") is not None, reason="here it can be had")
def test_gptq_names_the_package_that_it_needs(tiny: Path, tmp_path: Path) -> None:
    keys = {"export_quantization_bit": 4, "export_quantization_dataset": "c4", "export_dir": str(tmp_path)}
    with pytest.raises(RunError, match=r"GPTQ needs the packages gptqmodel and optimum; .* pip install gptqmodel"):
        export.export(cfg(tiny, **keys))


@pytest.mark.shows("export_quantization_dataset", "export_quantization_nsamples", "export_quantization_maxlen")
def test_calibrating_rows_are_stretches_of_longer_texts(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": "river stone lamp " * count}) for count in (2, 50, 70)))
    found = cfg(
        tiny, export_dir="o", export_quantization_bit=4, export_quantization_dataset=str(path), cache_dir=str(tmp_path)
    )
    texts = gptq.texts(found)
    rows = gptq.windows(texts, tokenizer, 6, 40)
    assert [len(row["input_ids"][0]) for row in rows] == [40] * 6
    assert len({tuple(row["input_ids"][0]) for row in rows}) > 1
    with pytest.raises(RunError, match="no text of export_quantization_dataset has more than 9999 tokens"):
        gptq.windows(texts, tokenizer, 6, 9999)
    path.write_text('{"content": "x"}\n')
    with pytest.raises(RunError, match="have no column text; it has content"):
        gptq.texts(found)


def test_the_adapter_itself_still_loads(tiny: Path, tmp_path: Path) -> None:
    """Exporting reads, and changes nothing of what it reads."""
    expected = answers(adapter(tiny, tmp_path / "adapter"))
    export.export(cfg(tiny, adapter_name_or_path=str(tmp_path / "adapter"), export_dir=str(tmp_path / "out")))
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    assert torch.equal(answers(PeftModel.from_pretrained(base, tmp_path / "adapter")), expected)
