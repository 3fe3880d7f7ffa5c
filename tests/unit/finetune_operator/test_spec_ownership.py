"""Who owns a key: the manifest's own fields, or a pasted YAML where they are silent."""

import pytest
from small_manifest import manifest, refused, trained


def test_the_manifests_own_fields_win_and_contradictions_are_told() -> None:
    pasted = {
        "model_name_or_path": "./telechat3_36B",
        "model_revision": "v1",
        "dataset": "identity,alpaca_en_demo",
        "output_dir": "/data/saves/full",
        "local_rank": 0,
    }
    job = trained(training=pasted)
    assert job.training.model.model_name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert job.training.model.model_revision == "main"
    assert job.training.data.dataset == ("identity",)
    assert job.training.training.output_dir == "data/saves/full"
    assert job.notes == (
        "training.model_name_or_path ./telechat3_36B gives way to spec.model.uri hf://HuggingFaceTB/SmolLM2-135M-Instruct",
        "training.dataset identity,alpaca_en_demo gives way to spec.datasets identity",
        "training.output_dir /data/saves/full becomes data/saves/full in the job's folder",
        "training.local_rank 0 is left out: spec.resources and spec.launcher say it",
    )


def test_a_pasted_yaml_stands_where_the_manifest_is_silent() -> None:
    pasted = {
        "model_name_or_path": "Qwen/Qwen2-7B",
        "model_revision": "v1",
        "dataset": ["a", "b"],
        "output_dir": "./x//y/",
    }
    job = trained(model={}, datasets=None, training=pasted)
    assert job.training.model.model_name_or_path == "Qwen/Qwen2-7B"
    assert job.training.model.model_revision == "v1"
    assert job.training.data.dataset == ("a", "b")
    assert job.training.training.output_dir == "x/y"
    assert job.notes == ()


def test_what_agrees_is_not_told() -> None:
    pasted = {
        "model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "model_revision": "v1",
        "dataset": "identity",
    }
    job = trained(training=pasted)
    assert (job.notes, job.training.model.model_revision) == ((), "v1")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://org/name", "org/name"),
        ("/models/a/", "/models/a"),
        ("pvc://claim/a", "pvc://claim/a"),
    ],
)
def test_the_model_as_the_trainer_gets_it(uri: str, name: str) -> None:
    assert trained(model={"uri": uri}).training.model.model_name_or_path == name


def test_a_data_set_for_evaluation_is_not_trained_on() -> None:
    job = trained(datasets=[{"name": "a"}, {"name": "b"}], training={"eval_dataset": "b"})
    assert job.training.data.dataset == ("a",)
    [told] = refused(manifest(datasets=[{"name": "b"}], training={"eval_dataset": "b"}))
    assert told == "spec.datasets: nothing is left to train on: eval_dataset names all of them"
