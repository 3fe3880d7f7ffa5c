"""A pod template that brings this machine's Python, its packages and this checkout into a pod of the thin image.

A real image is 5 GB and takes minutes to import; this takes none. Everything is mounted read-only at its own path, so
that paths in scripts and in compiled files hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .harness.layout import CHECKOUT

SYSTEM = Path("/usr")
HOME = "/home/trainer"


def python_overlay(container: str = "pytorch") -> dict[str, Any]:
    """A PodTemplateSpec, to be merged into a pod's: volumes, and the container's mounts and environment.

    In the container `python`, `torchrun` and `finetune` are found, and its home is writable.
    """
    paths = _outermost(_needed())
    volumes: list[dict[str, Any]] = [
        {"name": f"host-{number}", "hostPath": {"path": str(path)}} for number, path in enumerate(paths)
    ]
    mounts: list[dict[str, Any]] = [
        {"name": f"host-{number}", "mountPath": str(path), "readOnly": True} for number, path in enumerate(paths)
    ]
    volumes.append({"name": "home", "emptyDir": {}})
    mounts.append({"name": "home", "mountPath": HOME})
    environment = [{"name": name, "value": value} for name, value in _environment().items()]
    return {
        "spec": {
            "volumes": volumes,
            "containers": [{"name": container, "volumeMounts": mounts, "env": environment}],
        }
    }


def _environment() -> dict[str, str]:
    ours = (CHECKOUT / "tests/cluster/pod-bin", Path(sys.executable).parent)
    programs = (*ours, *(root / "bin" for root in _environments()), "/usr/local/bin", "/usr/bin", "/bin")
    return {
        "PATH": ":".join(map(str, programs)),
        "PYTHONPATH": f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer_image'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": HOME,
    }


def _environments() -> list[Path]:
    """The virtual environments whose packages are in use; `.venv` takes its own from another by a .pth file."""
    folders = [Path(entry) for entry in sys.path if Path(entry).name == "site-packages"]
    return [folder.parents[2] for folder in folders if (folder.parents[2] / "pyvenv.cfg").is_file()]


def _needed() -> Iterator[Path]:
    """The interpreter, its standard library and packages, the system's libraries and the checkout."""
    yield SYSTEM / "lib"
    yield CHECKOUT
    yield from _installation(Path(sys.executable))
    yield from _environments()
    for entry in (sys.prefix, sys.base_prefix, *sys.path):
        path = Path(entry)
        if path.is_dir() and path.is_absolute() and path != SYSTEM:
            yield path


def _installation(program: Path) -> Iterator[Path]:
    """The folders that an interpreter's chain of links goes through; of the system's, only the program."""
    while True:
        yield program if program.parent == SYSTEM / "bin" else program.parent.parent
        if not program.is_symlink():
            return
        program = program.parent / program.readlink()


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that lie in no other one."""
    unique = set(paths)
    return sorted(path for path in unique if not any(parent in unique for parent in path.parents))
