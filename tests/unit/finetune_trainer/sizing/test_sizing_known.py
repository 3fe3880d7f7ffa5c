"""Models known by name: their shapes give the number of weights that their owners publish."""

import pytest

from finetune_trainer.sizing import known, parameters

MODELS = known.models()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["ids"][0])
def test_a_config_gives_the_number_of_weights_that_is_published(model: dict[str, object]) -> None:
    ids = model["ids"]
    assert isinstance(ids, list)
    for name in ids:
        architecture = known.find(name)
        assert architecture is not None
        assert parameters.total(architecture) == model["weights"]
        assert not architecture.assumed
        assert architecture.stored in {"bfloat16", "float16"}


def test_a_name_counts_in_any_case_and_a_derivative_of_it_not() -> None:
    assert known.find("qwen/qwen3-8b") == known.find("Qwen/Qwen3-8B")
    assert known.find("Qwen/Qwen3-8B-AWQ") is None
    assert known.find("somebody/Qwen3-8B") is None
    assert known.find("") is None


def test_no_repository_stands_twice() -> None:
    ids = [name.lower() for model in MODELS for name in model["ids"]]
    assert len(set(ids)) == len(ids)
