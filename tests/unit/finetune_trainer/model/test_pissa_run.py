"""PiSSA through a Trainer: what lies in output_dir afterwards goes over the base as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from finetune_trainer import config, model
from finetune_trainer.model.tuning import pissa

IDS = torch.arange(24)[None]


@pytest.mark.shows("pissa_convert")
def test_a_resumed_run_is_made_plain_against_its_first_weights(tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny")
    said = {"do_train": True, "model_name_or_path": str(tiny), "template": "llama3", "use_cpu": True}
    cfg = config.parse({**said, "pissa_init": True, "pissa_convert": True, "pissa_iter": 4, "lora_rank": 4})
    plain = config.parse({**said, "lora_rank": 4})
    assert pissa.callbacks(plain, tmp_path) == []
    output = tmp_path / "out"
    trained(cfg, output, steps=2, resume=False)
    last = trained(cfg, output, steps=4, resume=True)
    pissa.finish(plain, output)
    assert not (output / pissa.CONVERTED).exists()
    pissa.finish(cfg, output)
    assert {folder.name for folder in output.iterdir() if folder.name.startswith("pissa_")} == {
        pissa.INITIAL,
        pissa.BACKUP,
        pissa.CONVERTED,
    }
    for folder in (output, output / pissa.CONVERTED):
        over_base = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32), folder)
        assert (over_base.eval()(IDS).logits - last).abs().max().item() < 1e-4


def trained(cfg: config.TrainConfig, output: Path, *, steps: int, resume: bool) -> torch.Tensor:
    """Train from the start or the last checkpoint, and save; the answers."""
    torch.manual_seed(steps)  # whatever was drawn before
    adapted: Any = model.load(cfg, model.load_tokenizer(cfg), device=torch.device("cpu"))
    arguments = TrainingArguments(
        output_dir=str(output), max_steps=steps, save_steps=2, learning_rate=1e-2, use_cpu=True, report_to=[],
        per_device_train_batch_size=1,
    )  # fmt: skip
    rows: Any = [{"input_ids": IDS[0], "labels": IDS[0]}] * 8
    trainer = Trainer(adapted, arguments, train_dataset=rows, callbacks=pissa.callbacks(cfg, output))
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    with torch.no_grad():
        return adapted.eval()(IDS).logits  # type: ignore[no-any-return]
