from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM

from finetune_trainer import chat, config, model
from finetune_trainer.failures import ModelNotFound, RunError

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def cfg(tiny: Path | str, **keys: Any) -> config.TrainConfig:
    said = {"do_train": True, "model_name_or_path": str(tiny), "dataset": "d", "template": "llama3", "output_dir": "o"}
    return config.parse({**said, "use_cpu": True, **keys})


def load(found: config.TrainConfig) -> Any:
    return model.load(found, model.load_tokenizer(found), device=torch.device("cpu"))


def checkpoints_activations(loaded: torch.nn.Module) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in loaded.modules())


def test_lora_on_all_is_every_linear_layer_but_the_last(tiny: Path) -> None:
    adapted = load(cfg(tiny, lora_rank=4, bf16=True))
    config_of_adapter = adapted.peft_config["default"]
    assert set(config_of_adapter.target_modules) == LINEAR
    assert config_of_adapter.lora_alpha == 8
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert all("lora_" in name and weight.dtype is torch.float32 for name, weight in trained.items())
    assert adapted.get_input_embeddings().weight.dtype is torch.bfloat16, "the base computes in bfloat16"
    assert checkpoints_activations(adapted)
    assert adapted.config.use_cache is False


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [({}, torch.float32), ({"bf16": True}, torch.float32), ({"pure_bf16": True}, torch.bfloat16)],
)
def test_full_fine_tuning_trains_everything(tiny: Path, keys: dict[str, Any], dtype: torch.dtype) -> None:
    loaded = load(cfg(tiny, finetuning_type="full", disable_gradient_checkpointing=True, **keys))
    assert all(weight.requires_grad and weight.dtype is dtype for weight in loaded.parameters())
    assert not checkpoints_activations(loaded)


def test_what_is_not_there_is_named(tiny: Path) -> None:
    with pytest.raises(ModelNotFound, match="model_name_or_path: there is no folder /none/such"):
        model.load_tokenizer(cfg("/none/such"))
    with pytest.raises(ModelNotFound, match=r"adapter_name_or_path: there is no folder \./no-adapter"):
        load(cfg(tiny, adapter_name_or_path="./no-adapter"))
    with pytest.raises(RunError, match=r"lora_target: this model has no c_attn; it has down_proj, gate_proj"):
        load(cfg(tiny, lora_target="c_attn,q_proj"))


def test_an_adapter_is_trained_on(tiny: Path, tmp_path: Path) -> None:
    load(cfg(tiny, lora_rank=4)).save_pretrained(tmp_path)
    again = load(cfg(tiny, adapter_name_or_path=str(tmp_path)))
    assert again.peft_config["default"].r == 4
    assert any(weight.requires_grad for weight in again.parameters())


def test_chat_answers_greedily_what_generate_answers(tiny: Path) -> None:
    asked = chat.Asked(model=str(tiny), template="llama3")
    answers = chat.answer(asked, ["Who are you?", "Who are you?"], max_new_tokens=5)
    speaker = chat.load(asked, max_new_tokens=5)
    prompt = speaker.tokenizer.apply_chat_template([{"role": "user", "content": "Who are you?"}], tokenize=False)
    ids = speaker.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    lm = AutoModelForCausalLM.from_pretrained(tiny)
    for _ in range(5):
        ids = torch.cat([ids, lm(ids).logits[:, -1:].argmax(-1)], dim=1)
    expected = speaker.tokenizer.decode(ids[0, -5:], skip_special_tokens=True).strip()
    assert answers == [expected, expected]


def test_chat_needs_a_template(tiny: Path) -> None:
    with pytest.raises(RunError, match="--template"):
        chat.answer(chat.Asked(model=str(tiny)), ["hello"])
