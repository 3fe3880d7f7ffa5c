"""The map of docs/architecture.md as a test: which room may import which other room, and which third-party package.

A new room without a line here fails, so the map can't fall behind the house. The standard library is free.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "finetune_operator": ROOT / "operator" / "finetune_operator",
    "finetune_trainer": ROOT / "trainer_image" / "finetune_trainer",
}

# room -> what it may import: rooms of ours (operator.x, trainer.x) and third-party packages
ROOMS = {
    "operator.names": "",
    "operator.network_profiles": "pydantic yaml trainer.sizing",
    "operator.settings": "pydantic yaml operator.network_profiles",
    "operator.spec": "pydantic pydantic_core operator.names trainer.config trainer.sizing",
    "operator.observe": "operator.names trainer.records",
    "operator.checks": "operator.names operator.observe operator.settings operator.spec trainer.sizing"
    " trainer.template",
    "operator.crd": "pydantic yaml operator.names operator.spec trainer.config",
    "operator.plan": "operator.names operator.network_profiles operator.observe operator.settings operator.spec"
    " trainer.config trainer.deepspeed trainer.records",
    "operator.render": "yaml operator.names operator.plan trainer.records",
    "operator.status": "operator.names operator.observe operator.plan operator.spec trainer.records",
    "operator.cluster": "aiohttp kubernetes operator.names operator.observe",
    "operator.logs": "pythonjsonlogger operator.names",
    "operator.reconcile": "operator.checks operator.cluster operator.logs operator.names operator.observe"
    " operator.plan operator.render operator.settings operator.spec operator.status trainer.records",
    "operator.workqueue": "operator.cluster operator.logs operator.names",
    "operator.resync": "operator.cluster operator.names",
    "operator.metrics": "aiohttp prometheus_client operator.names",
    "operator.intake": "aiohttp operator.cluster operator.names operator.observe trainer.records",
    "operator.admission": "operator.checks operator.observe operator.settings operator.spec",
    "operator.watches": "aiohttp",
    "operator.handlers": "aiohttp kopf operator.admission operator.names operator.settings operator.watches",
    "operator.certificate": "",
    "operator.program": "aiohttp operator.certificate operator.cluster operator.intake operator.metrics operator.names"
    " operator.reconcile operator.resync operator.settings operator.watches operator.workqueue",
    "operator.__main__": "operator.cluster operator.handlers operator.logs operator.program operator.settings",
    "operator.local": "psutil rich operator.names operator.observe operator.plan operator.render operator.settings"
    " operator.spec trainer.records",
    "operator.cli": "rich yaml operator.checks operator.cluster operator.local operator.names"
    " operator.network_profiles operator.observe operator.plan operator.render operator.settings operator.spec"
    " trainer.config trainer.deepspeed trainer.records trainer.sizing",
    "trainer.records": "",
    "trainer.differences": "",
    "trainer.config": "omegaconf pydantic yaml trainer.differences",
    "trainer.deepspeed": "trainer.config",
    "trainer.sizing": "yaml trainer.config trainer.deepspeed",
    "trainer.examples": "",
    "trainer.template": "transformers yaml trainer.config trainer.differences trainer.examples",
    "trainer.encode": "fastokens numpy tokenizers transformers trainer.differences trainer.examples trainer.template",
    "trainer.data": "datasets fsspec huggingface_hub numpy pyarrow transformers yaml trainer.config"
    " trainer.differences trainer.encode trainer.examples trainer.records trainer.template",
    "trainer.preview": "matplotlib rich transformers trainer.config trainer.data trainer.encode trainer.examples",
    "trainer.saved_template": "transformers trainer.encode trainer.examples trainer.template",
    "trainer.isolation": "deepspeed torch transformers trainer.collate trainer.examples trainer.failures"
    " trainer.model",
    "trainer.collate": "torch trainer.examples",
    "trainer.atomic": "",
    "trainer.quiet": "datasets torch transformers",
    "trainer.imports": "trainer.config",
    "trainer.memory": "psutil torch",
    "trainer.recorder": "torch trainer.context trainer.records trainer.supervise",
    "trainer.allocator": "",
    "trainer.context": "trainer.config trainer.records",
    "trainer.failures": "trainer.atomic trainer.context trainer.records",
    "trainer.distributed": "deepspeed torch trainer.context trainer.failures trainer.members",
    "trainer.members": "torch trainer.context trainer.failures",
    "trainer.network": "torch trainer.distributed trainer.failures",
    "trainer.resize": "deepspeed torch transformers trainer.atomic trainer.checkpoints trainer.config"
    " trainer.deepspeed trainer.distributed trainer.failures trainer.memory",
    "trainer.checkpoints": "trainer.atomic trainer.context trainer.distributed trainer.failures trainer.records",
    "trainer.model": "accelerate bitsandbytes deepspeed hqq liger_kernel peft safetensors torch torchao transformers"
    " trl trainer.config trainer.failures trainer.template yaml",
    "trainer.losses": "torch trainer.examples",
    "trainer.optimisers": "adam_mini apollo_torch galore_torch torch transformers trainer.config trainer.failures"
    " trainer.model",
    "trainer.stages": "accelerate peft torch transformers trainer.collate trainer.config"
    " trainer.context trainer.data trainer.deepspeed trainer.distributed trainer.distributed_fsdp trainer.examples"
    " trainer.failures trainer.isolation trainer.losses trainer.memory trainer.model trainer.optimisers"
    " trainer.predict trainer.reward_server trainer.saving trainer.template",
    "trainer.saving": "deepspeed torch trainer.atomic trainer.checkpoints trainer.failures",
    "trainer.stopping": "transformers trainer.context trainer.distributed trainer.records trainer.saving",
    "trainer.progress": "rich transformers trainer.atomic trainer.config trainer.context trainer.distributed"
    " trainer.records trainer.sizing",
    "trainer.artifacts": "matplotlib torch transformers yaml trainer.atomic trainer.config trainer.context"
    " trainer.data trainer.distributed trainer.progress trainer.records",
    "trainer.trained_data": "transformers trainer.artifacts trainer.config trainer.context trainer.data"
    " trainer.distributed trainer.members trainer.progress trainer.saved_template",
    "trainer.train": "torch transformers trainer.allocator trainer.artifacts trainer.checkpoints trainer.collate"
    " trainer.config trainer.context trainer.data trainer.distributed trainer.failures trainer.imports trainer.memory"
    " trainer.model trainer.network trainer.optimisers trainer.profilers trainer.progress trainer.quiet"
    " trainer.recorder trainer.records trainer.resize trainer.saving trainer.stages trainer.stopping trainer.trackers"
    " trainer.trained_data",
    "trainer.chat": "peft rich torch transformers trainer.failures trainer.model trainer.quiet trainer.template",
    "trainer.supervise": "psutil trainer.atomic trainer.config trainer.records trainer.sizing",
    "trainer.prepare": "trainer.atomic trainer.config trainer.data trainer.failures trainer.fetch trainer.model"
    " trainer.quiet trainer.records trainer.sizing trainer.supervise",
    "trainer.cli": "rich torch transformers operator.cli trainer.chat trainer.config trainer.context trainer.data"
    " trainer.export trainer.failures trainer.fetch trainer.imports trainer.model trainer.prepare trainer.preview"
    " trainer.quiet trainer.records trainer.sizing trainer.supervise trainer.train",
    "trainer.distributed_fsdp": "accelerate torch transformers trainer.failures",
    "trainer.predict": "jieba nltk rouge_chinese torch transformers trainer.config trainer.distributed"
    " trainer.failures trainer.template",
    "trainer.http_session": "requests urllib3",
    "trainer.reward_server": "requests trainer.failures trainer.http_session",
    "trainer.fetch": "minio requests rich urllib3 trainer.atomic trainer.failures trainer.http_session",
    "trainer.trackers": "swanlab transformers trainer.atomic trainer.config trainer.context trainer.failures",
    "trainer.profilers": "torch transformers trainer.config trainer.failures",
    "trainer.export": "accelerate bitsandbytes datasets huggingface_hub peft safetensors torch transformers"
    " trainer.atomic trainer.config trainer.failures trainer.model trainer.quiet trainer.records"
    " trainer.saved_template trainer.supervise trainer.template",
    "trainer.__main__": "trainer.cli",
}


def room_of(module: str) -> str:
    """`finetune_operator.render.pytorchjob` -> `operator.render`; `torch.nn` -> `torch`."""
    parts = module.split(".")
    if parts[0] in PACKAGES:
        return f"{parts[0].removeprefix('finetune_')}.{parts[1]}" if len(parts) > 1 else parts[0]
    return parts[0]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            if module in PACKAGES:
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def offences(module: str, source: str) -> list[str]:
    """Imports of one file that its room's line does not allow."""
    room = room_of(module)
    allowed = set(ROOMS[room].split()) | {room, "operator", "trainer"}
    wanted = {room_of(name) for name in imports_of(ast.parse(source))}
    return sorted(name for name in wanted - allowed if name not in sys.stdlib_module_names and name != "__future__")


def modules() -> list[tuple[str, Path]]:
    """Every module of both packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            if name != package:
                found.append((name, path))
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_follow_the_map(module: str, path: Path) -> None:
    assert offences(module, path.read_text()) == [], f"{module} may import: {ROOMS[room_of(module)]}"


@pytest.mark.parametrize(
    ("module", "line", "offence"),
    [
        ("finetune_operator.plan.run", "import torch", "torch"),
        ("finetune_operator.cluster", "import kopf", "kopf"),
        ("finetune_trainer.config.parse", "from transformers import TrainingArguments", "transformers"),
        ("finetune_operator.render.pod", "from finetune_operator.cluster import Cluster", "operator.cluster"),
        (
            "finetune_trainer.stages.sft",
            "def build():\n    from finetune_trainer import artifacts",
            "trainer.artifacts",
        ),
    ],
)
def test_the_map_refuses(module: str, line: str, offence: str) -> None:
    assert offences(module, line) == [offence]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_package_states_its_law(package: str) -> None:
    folder = PACKAGES[package]
    for init in folder.rglob("__init__.py"):
        docstring = ast.get_docstring(ast.parse(init.read_text()))
        assert docstring, f"{init.relative_to(ROOT)} has no docstring"


def test_no_operator_package_hides_pythons_own() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert [path for path in (ROOT / "tests").rglob("operator") if path.is_dir()] == []


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_room_has_a_name_that_says_nothing(name: str) -> None:
    assert [path for folder in PACKAGES.values() for path in folder.rglob(f"{name}.py")] == []


WITHIN_DATA = {
    "convert": {"finetune_trainer.data.convert", "finetune_trainer.data.entry"},
    "select": {"finetune_trainer.data.entry"},
    "flow": set(),
}
"""Rooms inside `data` that know less than it does, and which of its modules they may know."""


@pytest.mark.parametrize("room", WITHIN_DATA)
def test_rooms_inside_data_know_no_token(room: str) -> None:
    folder = PACKAGES["finetune_trainer"] / "data"
    files = [*folder.glob(f"{room}.py"), *folder.glob(f"{room}/*.py")]
    assert files
    for path in files:
        known = {name for name in imports_of(ast.parse(path.read_text())) if name.startswith("finetune_trainer")}
        inside = {".".join(name.split(".")[:3]) for name in known if name.startswith("finetune_trainer.data")}
        assert inside <= WITHIN_DATA[room], path
        outside = {room_of(name) for name in known} - {"trainer.data"}
        assert outside <= {"trainer.examples", "trainer.differences"}, path
