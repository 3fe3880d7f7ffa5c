"""What `finetune train` takes: YAML, JSON, `key=value`, flags as HfArgumentParser takes them, `${...}`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer import config
from finetune_trainer.config import ConfigInvalid, TrainConfig, flags, from_words, parse

FLAGS = """
--model_name_or_path X --stage sft --do_train --bf16 --learning_rate 2.0e-5 --max_steps -1
--gradient_checkpointing True --packing=false --no_use_fast_tokenizer
--per-device-train-batch-size 4 --dataset one two,three --run_name=a=b --cutoff_len 512 --seed 3
--overwrite_output_dir yes --no_cuda --resume_from_checkpoint null --lora_dropout .1 --fp16 0
"""


def said(*words: str) -> dict[str, Any]:
    return config.dump(from_words(words, complete=False))


def told(*words: str, complete: bool = False) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        from_words(words, complete=complete)
    return [str(violation) for violation in refused.value.violations]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "cfg.yaml"
    path.write_text("stage: sft\nlearning_rate: 1e-4\ndataset: a\nevaluation_strategy: steps\nval_size: 0.1\n")
    return str(path)


def test_flags_as_huggingface_takes_them() -> None:
    assert said(
        *FLAGS.split(),
        *("--lr_scheduler_kwargs", '{"num_cycles": 2}', "--warmup_ratio", "1e-1"),
        *("--lr_scheduler_type", "cosine_with_restarts"),
    ) == {
        "model_name_or_path": "X", "stage": "sft", "do_train": True, "bf16": True, "learning_rate": 2e-5,
        "max_steps": -1, "gradient_checkpointing": True, "packing": False,
        "use_fast_tokenizer": False, "per_device_train_batch_size": 4, "dataset": ["one", "two", "three"],
        "run_name": "a=b", "cutoff_len": 512, "seed": 3, "overwrite_output_dir": True, "use_cpu": True,
        "lora_dropout": 0.1, "fp16": False, "lr_scheduler_kwargs": {"num_cycles": 2},
        "lr_scheduler_type": "cosine_with_restarts", "warmup_ratio": 0.1,
    }  # fmt: skip


def test_booleans_that_are_true_unless_said_have_a_no() -> None:
    assert [(word.key, word.value, word.fault) for word in flags.read(["--no_double_quantization", "--no-cuda"])] == [
        ("double_quantization", False, ""),
        ("no_cuda", True, ""),
    ]
    assert [word.fault for word in flags.read(["--no_double_quantization=1"])] == [
        "takes no value; leave the value out"
    ]


def test_the_last_flag_wins_as_with_argparse() -> None:
    assert said("--seed", "1", "--seed", "2") == {"seed": 2}


def test_words_over_a_file(file: str) -> None:
    assert said(file, "learning_rate=1e-5", "dataset=a,b", "val_size=null", "eval_strategy=no", "--seed", "4") == {
        "stage": "sft",
        "learning_rate": 1e-5,
        "dataset": ["a", "b"],
        "eval_strategy": "no",
        "seed": 4,
    }


def test_a_part_of_a_value_is_changed(tmp_path: Path) -> None:
    deep = tmp_path / "ds.json"
    deep.write_text('{"zero_optimization": {"stage": 3, "overlap_comm": true}}')
    for before in (f"deepspeed: {deep}\n", "deepspeed: {zero_optimization: {stage: 3, overlap_comm: true}}\n"):
        (tmp_path / "cfg.yaml").write_text(before)
        cfg = from_words([str(tmp_path / "cfg.yaml"), "deepspeed.zero_optimization.stage=2"], complete=False)
        assert cfg.training.deepspeed == {"zero_optimization": {"stage": 2, "overlap_comm": True}}


def test_json_is_read_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps({"stage": "sft", "deepspeed": {"a": {"stage": 1}}, "seed": 5}, indent="\t"))
    assert said(str(path), "cutoff_len=9")["seed"] == 5
    path.write_text('{\n "learning_rat": 1,\n "deepspeed": {"seed": 1},\n "seed": "x"}')
    assert told(str(path)) == [
        f"{path}:2: learning_rat: unknown key; did you mean learning_rate?",
        f"{path}:4: seed: expected a whole number, got x",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n}', ":2: not a JSON of keys and values: "),
        ('{"seed": 1, "seed": 2}', ": not a JSON of keys and values: the key seed stands twice"),
        ("[1]", ': expected keys with values, as {"learning_rate": 1e-5}'),
    ],
)
def test_what_is_no_json_of_keys(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    path.write_text(text)
    assert told(str(path))[0].startswith(f"{path}{message}")


def test_every_fault_keeps_its_place(file: str) -> None:
    assert told(file, "learning_rat=1", "--seed", "x", "--bf16", "maybe", "stray", "-x", "a=[1", "--cutoff_len") == [
        "command line: learning_rat: unknown key; did you mean learning_rate?",
        "command line: --seed: expected a whole number, got x",
        "command line: --bf16: expected true or false, got maybe",
        "command line: stray: expected --key value, or key=value",
        "command line: -x: expected --key value, or key=value",
        "command line: a: the value is not YAML: did not find expected ',' or ']'",
        "command line: --cutoff_len: expected a value after it",
    ]


def test_what_the_file_says_keeps_its_line_beside_words(file: str) -> None:
    with Path(file).open("a") as stream:
        stream.write("bf16: ja\n")
    assert told(file, "seed=x") == [
        f"{file}:6: bf16: expected true or false, got ja",
        "command line: seed: expected a whole number, got x",
    ]


def test_what_is_missing_is_asked_for_as_flags() -> None:
    lines = told("--stage", "sft", complete=True)
    assert [line.split(": ")[1] for line in lines] == ["--model_name_or_path", "--dataset", "--output_dir"]


def test_files_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/data")
    path = tmp_path / "cfg.yaml"
    path.write_text(
        "learning_rate: 1e-4\noutput_dir: ${oc.env:WHERE}/${finetuning_type}-${learning_rate}\n"
        "finetuning_type: lora\nlora_rank: ${oc.env:NO_SUCH_VARIABLE,4}\nrun_name: \\${plain}\n"
        "lr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: '${cutoff_len}'}\ncutoff_len: 4\n"
    )
    cfg = from_words([str(path), "learning_rate=2e-4"], complete=False)
    assert cfg.training.output_dir == "/data/lora-0.0002"
    assert cfg.finetuning.lora_rank == 4
    assert cfg.training.lr_scheduler_kwargs == {"num_cycles": 4}
    assert cfg.training.run_name == "${plain}"
    assert config.load(path, complete=False).training.output_dir == "/data/lora-0.0001"


def test_what_dump_wrote_is_not_filled_in_again(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps({"run_name": "${plain}"}))
    assert config.load(path, complete=False, fill=False).training.run_name == "${plain}"


def test_what_can_not_be_filled_in_is_told_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text(
        "run_name: ${nothing}\nlearning_rate: ${learning_rate}\noutput_dir: ${oc.env:NO_SUCH}\nproject: ${\n"
    )
    lines = told(str(path))
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{number}" for number in (1, 2, 3, 4)]
    assert all("${...} can't be filled in: " in line for line in lines)


def manifest(mapping: dict[str, Any]) -> TrainConfig:
    return parse(mapping)


def test_a_manifest_takes_other_keys_only() -> None:
    cfg = manifest(
        {"learning_rate": 1e-4, "run_name": "lr ${learning_rate}", "seed": "${cutoff_len}", "cutoff_len": 9}
    )
    assert (cfg.training.run_name, cfg.training.seed) == ("lr 0.0001", 9)
    assert manifest({"run_name": r"\${seed}"}).training.run_name == "${seed}"


@pytest.mark.parametrize(
    "mapping",
    [
        {"run_name": "${oc.env:HOME}"},
        {"run_name": "${${project}:HOME}", "project": "oc.env"},
        {"run_name": "${oc.decode:'1'}"},
        {"run_name": "${seed"},
        {"run_name": "${nothing}"},
        {"run_name": "${run_name}"},
        {"run_name": "${project}", "project": "${seed}", "seed": 1},
        {"run_name": "${project}", "project": "x" * 201},
        {"run_name": "${deepspeed}", "deepspeed": {"a": 1}},
    ],
    ids=str,
)
def test_a_manifest_reads_no_environment_and_does_not_grow(mapping: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match=r"spec.training.run_name: .*write the value itself"):
        manifest(mapping)


def test_what_was_filled_in_is_not_read_again() -> None:
    cfg = manifest({"run_name": "${cache_dir}{oc.env:HOME}", "cache_dir": "$"})
    assert cfg.training.run_name == "${oc.env:HOME}", "text, which nobody fills in later"


PROGRAM = """
import sys, time
from finetune_trainer.cli import main
code = main(["train", *sys.argv[1:]])
heavy = {"torch", "transformers", "datasets", "numpy"} & set(sys.modules)
print(code, sorted(heavy), "omegaconf" in sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "omegaconf"), [((), False), (("learning_rat=1",), True), (("--learning_rat", "1"), False)], ids=str
)
def test_a_wrong_config_is_refused_without_torch(words: tuple[str, ...], omegaconf: bool, file: str) -> None:
    Path(file).write_text("bf16: ja\n" * 1 + "seed: x\nstage: sftt\n")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, file, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    print(f"refused in {time.perf_counter() - began:.2f} s (2 s is the measure)")
    assert done.stdout.splitlines()[-1] == f"2 [] {omegaconf}"
    assert len(done.stderr.splitlines()) == 6 + bool(words)
