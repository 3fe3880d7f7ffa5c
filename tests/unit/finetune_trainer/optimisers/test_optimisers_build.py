"""Every optimiser that we build, on a small llama: it learns, keeps what it promises, and goes on from its state."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from finetune_trainer import optimisers
from finetune_trainer.config import parse
from finetune_trainer.failures import RunError
from finetune_trainer.optimisers.badam import Course
from finetune_trainer.optimisers.badam_ratio import Share

BASE = {"finetuning_type": "full", "optim": "adamw_torch", "learning_rate": 1e-2}
GALORE = {"use_galore": True, "galore_rank": 4, "galore_update_interval": 3}
APOLLO = {"use_apollo": True, "apollo_rank": 4, "apollo_update_interval": 3}
BADAM = {"use_badam": True, "badam_switch_interval": 3}
RATIO = {"use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.2, "badam_switch_interval": 3}
WITHOUT_PROJECTION = {"optim_target_modules": "all", "optim_args": "rank=4,update_proj_gap=3"}
METHODS: dict[str, dict[str, Any]] = {
    "galore": GALORE,
    "galore full": {**GALORE, "galore_proj_type": "full"},
    "galore adafactor": {**GALORE, "optim": "adafactor"},
    "galore layers": {**GALORE, "galore_layerwise": True},
    "optim galore": {"optim": "galore_adamw", **WITHOUT_PROJECTION},
    "optim galore layers": {"optim": "galore_adafactor_layerwise", **WITHOUT_PROJECTION},
    "apollo": APOLLO,
    "apollo svd": {**APOLLO, "apollo_proj": "svd"},
    "apollo layers": {**APOLLO, "apollo_layerwise": True},
    "optim apollo": {"optim": "apollo_adamw", **WITHOUT_PROJECTION},
    "badam": BADAM,
    "badam random": {**BADAM, "badam_switch_mode": "random"},
    "badam adafactor": {**BADAM, "optim": "adafactor"},
    "badam ratio": RATIO,
    "badam scatter": {**RATIO, "badam_mask_mode": "scatter"},
    "adam mini": {"use_adam_mini": True},
    "muon": {"use_muon": True},
}


class Run:
    """A model that learns one batch by heart."""

    def __init__(self, folder: Path, said: dict[str, Any], *, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=True,
        )  # fmt: skip
        self.model = LlamaForCausalLM(config).to(dtype)
        self.before = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.cfg = parse({**BASE, **said})
        training = self.cfg.training
        self.args = TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to="none",
            optim=training.optim,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        optimisers.check(self.cfg, self.args)
        made = optimisers.build(self.cfg, self.args, self.model)
        assert made is not None
        self.optimiser = made
        self.batch = torch.randint(0, 64, (4, 12), generator=torch.Generator().manual_seed(1))

    def steps(self, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = self.model(input_ids=self.batch, labels=self.batch)["loss"]
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    def moved(self) -> set[str]:
        return {name for name, value in self.model.named_parameters() if not torch.equal(value, self.before[name])}

    def state_size(self) -> int:
        return _elements(self.optimiser.state_dict()["state"])


def _elements(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_elements, inner))


@pytest.mark.parametrize("name", METHODS)
def test_learns_and_goes_on_from_its_state(name: str, tmp_path: Path) -> None:
    """The state is read as transformers reads it: tensors and numbers alone."""
    whole = Run(tmp_path, METHODS[name])
    losses = whole.steps(5)
    assert losses[-1] < losses[0] - 0.02
    saved = io.BytesIO()
    torch.save(whole.optimiser.state_dict(), saved)
    weights = {key: value.clone() for key, value in whole.model.state_dict().items()}
    later = whole.steps(5)

    resumed = Run(tmp_path, METHODS[name])
    resumed.model.load_state_dict(weights)
    resumed.optimiser.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    assert resumed.steps(5) == later
    fresh = Run(tmp_path, METHODS[name])
    fresh.model.load_state_dict(weights)
    assert fresh.steps(5) != later


def _adam_state(folder: Path) -> int:
    run = Run(folder, {"use_muon": True})
    return 2 * sum(parameter.numel() for parameter in run.model.parameters())


@pytest.mark.shows("use_galore", "use_apollo", "use_adam_mini", "use_muon", "galore_rank", "apollo_rank")
@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({**GALORE, "galore_rank": 2}, GALORE),
        ({**APOLLO, "apollo_rank": 2}, APOLLO),
        ({"use_adam_mini": True}, None),
        ({"use_muon": True}, None),
    ],
)
def test_keeps_less_than_adam(small: dict[str, Any], large: dict[str, Any] | None, tmp_path: Path) -> None:
    sizes = [_adam_state(tmp_path)]
    for said in (large, small):
        if said is not None:
            run = Run(tmp_path, said)
            run.steps(1)
            sizes.append(run.state_size())
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.65 * sizes[0]
    assert len(set(sizes)) == len(sizes)


@pytest.mark.shows("galore_target", "apollo_target", "optim_target_modules")
@pytest.mark.parametrize(
    ("said", "key"),
    [
        (GALORE, "galore_target"),
        (APOLLO, "apollo_target"),
        ({"optim": "galore_adamw", "optim_args": "rank=4"}, "optim_target_modules"),
    ],
)
def test_projects_what_is_meant(said: dict[str, Any], key: str, tmp_path: Path) -> None:
    def size(target: str) -> int:
        run = Run(tmp_path, {**said, key: target})
        run.steps(1)
        return run.state_size()

    assert size("all") < size("mlp") < size("down_proj")
    assert size("mlp") == size(".*mlp.*") == size("gate_proj,up_proj,down_proj")
    with pytest.raises(RunError, match=f"{key}: no trained linear layer is called nothing; there are down_proj"):
        size("nothing")


DIFFERENT: list[tuple[str, dict[str, Any], object]] = [
    ("galore_update_interval", GALORE, 1),
    ("galore_scale", GALORE, 0.5),
    ("galore_proj_type", GALORE, "reverse_std"),
    ("apollo_update_interval", APOLLO, 1),
    ("apollo_scale", APOLLO, 4.0),
    ("apollo_proj", APOLLO, "svd"),
    ("apollo_proj_type", {**APOLLO, "apollo_scale_type": "tensor"}, "right"),
    ("apollo_scale_type", APOLLO, "tensor"),
    ("badam_start_block", BADAM, 2),
    ("badam_switch_mode", BADAM, "descending"),
    ("badam_switch_interval", BADAM, 1),
    ("badam_update_ratio", RATIO, 0.6),
    ("badam_mask_mode", RATIO, "scatter"),
    ("badam_mode", BADAM, "ratio"),
    ("optim_args", {"optim": "galore_adamw", "optim_target_modules": "all", "optim_args": "rank=4"}, "rank=4,scale=2"),
    ("optim", BADAM, "sgd"),
    ("weight_decay", {"use_muon": True}, 0.5),
    ("weight_decay", BADAM, 0.5),
    ("weight_decay", {"use_adam_mini": True}, 0.5),
    ("weight_decay", GALORE, 0.5),
    ("learning_rate", {"use_muon": True}, 1e-3),
]


@pytest.mark.shows(*(dict.fromkeys(key for key, _, _ in DIFFERENT)))
@pytest.mark.parametrize(("key", "said", "other"), DIFFERENT)
def test_each_key_changes_the_course(key: str, said: dict[str, Any], other: object, tmp_path: Path) -> None:
    torch.manual_seed(3)
    first, second = Run(tmp_path, said).steps(6), Run(tmp_path, {**said, key: other}).steps(6)
    assert first[0] == second[0]
    assert first[-1] != second[-1]


@pytest.mark.shows("galore_layerwise", "apollo_layerwise")
@pytest.mark.parametrize(("said", "key"), [(GALORE, "galore_layerwise"), (APOLLO, "apollo_layerwise")])
def test_layerwise_holds_one_gradient_and_moves_the_same(said: dict[str, Any], key: str, tmp_path: Path) -> None:
    together, apart = (
        Run(tmp_path, {**said, "apollo_proj": "svd"}),
        Run(tmp_path, {**said, "apollo_proj": "svd", key: True}),
    )
    assert together.steps(6) == pytest.approx(apart.steps(6), abs=1e-5)
    for run, gone in ((together, False), (apart, True)):
        run.model(input_ids=run.batch, labels=run.batch)["loss"].backward()
        assert all((parameter.grad is None) is gone for parameter in run.model.parameters())


@pytest.mark.shows("use_badam", "badam_switch_interval", "badam_verbose")
def test_badam_moves_one_block_and_keeps_its_state_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, {**BADAM, "badam_verbose": 1})
    run.steps(3)
    assert run.moved() == {name for name in run.before if ".layers.0." in name}
    assert len(run.optimiser.state_dict()["active"]["state"]) == 0, "dropped at the switch"
    run.steps(2)
    assert run.moved() == {name for name in run.before if ".layers.0." in name or ".layers.1." in name}
    assert len(run.optimiser.state_dict()["active"]["state"]) == 9
    assert [name for name, value in run.model.named_parameters() if value.requires_grad] == [
        name for name in run.before if ".layers.1." in name
    ]
    assert capsys.readouterr().out.splitlines() == [
        "BAdam: block 0 learns: model.layers.0.",
        "BAdam: block 1 learns: model.layers.1.",
    ]
    Run(tmp_path, {**BADAM, "badam_verbose": 2})
    assert "BAdam:   model.layers.0.mlp.up_proj.weight" in capsys.readouterr().out
    Run(tmp_path, BADAM)
    assert capsys.readouterr().out == ""


def test_badam_keeps_float32_copies_of_its_block(tmp_path: Path) -> None:
    """Steps of 1e-5 are lost in bfloat16 if nobody adds them up in float32."""
    run = Run(tmp_path, {**BADAM, "learning_rate": 1e-5, "badam_switch_interval": -1}, dtype=torch.bfloat16)
    run.steps(8)
    copies = run.optimiser.state_dict()["copies"]
    assert {copy.dtype for copy in copies} == {torch.float32}
    assert len(run.moved()) > 0


def test_badam_says_what_it_can_not_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="badam_start_block: 3 is too much, the model has blocks 0 to 2"):
        Run(tmp_path, {**BADAM, "badam_start_block": 3})


@pytest.mark.parametrize(
    ("course", "blocks"),
    [
        (Course(count=3, mode="ascending", interval=2), [0, 0, 1, 1, 2, 2, 0, 0]),
        (Course(count=3, mode="ascending", interval=2, start=1), [1, 1, 2, 2, 0, 0, 1, 1]),
        (Course(count=3, mode="descending", interval=2), [2, 2, 1, 1, 0, 0, 2, 2]),
        (Course(count=3, mode="fixed", interval=2, start=1), [1] * 8),
        (Course(count=3, mode="ascending", interval=-1), [0] * 8),
    ],
)
def test_course_of_blocks(course: Course, blocks: list[int]) -> None:
    assert [course.block(step) for step in range(8)] == blocks


def test_random_course_takes_each_block_once_in_a_round() -> None:
    course = Course(count=5, mode="random", interval=2, seed=4)
    rounds = [[course.block(step) for step in range(start, start + 10, 2)] for start in (0, 10, 20)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_share_moves_on_over_all_entries() -> None:
    share = Share(ratio=0.25, mode="adjacent", interval=10)
    assert share.entries(200, 9).tolist() == list(range(50))
    assert share.entries(200, 35).tolist() == list(range(150, 200))
    scattered = Share(ratio=0.25, mode="scatter", interval=10)
    drawn = [scattered.entries(200, turn).tolist() for turn in (0, 10, 20, 30)]
    assert sorted(entry for one in drawn for entry in one) == list(range(200))
    assert share.entries(60, 0).tolist() == list(range(60)), "small weights learn whole"


def test_ratio_moves_its_share_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, RATIO)
    run.steps(3)
    name = "model.layers.0.mlp.up_proj.weight"
    changed = (run.model.get_parameter(name) != run.before[name]).float().mean()
    assert 0.1 < float(changed) <= 0.2
    assert "model.embed_tokens.weight" not in run.moved()


def test_muon_divides_as_llamafactory_does_and_has_one_rate(tmp_path: Path) -> None:
    run = Run(tmp_path, {"use_muon": True})
    parts = run.optimiser.parts  # type: ignore[attr-defined]
    assert [type(part).__name__ for part in parts] == ["Muon", "AdamW"]
    for group in run.optimiser.param_groups:
        group["lr"] = 0.0
    run.steps(2)
    assert run.moved() == set(), "a schedule that says 0 stops both"


def test_adam_mini_is_for_matrices(tmp_path: Path) -> None:
    from finetune_trainer.optimisers import adam_mini

    run = Run(tmp_path, {"use_muon": True})
    run.model.register_parameter("experts", torch.nn.Parameter(torch.zeros(2, 3, 4)))
    with pytest.raises(RunError, match="use_adam_mini: experts is no matrix; take use_muon"):
        adam_mini.build(run.cfg, run.args, run.model)
