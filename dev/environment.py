"""Make `.venv`: the checkout itself, on top of a shared environment with every dependency at its exact version.

The dependencies are 6 GB, so they are installed once for each set of versions, outside the checkout
(`${XDG_CACHE_HOME:-~/.cache}/finetune-operator/venv-<key>`), and `.venv` points to them by a .pth file.
Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints" / "current.txt"
EXTRAS = ("operator", "trainer", "methods", "trackers", "dev")
BUILD_TOOLS = ("setuptools", "wheel")


def cache_root() -> Path:
    """The folder for everything heavy that outlives a checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator"


def requirements() -> list[str]:
    """What pyproject.toml asks for, over all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return sorted([*project["dependencies"], *extras, *BUILD_TOOLS])


def key() -> str:
    """Names an environment by what is in it."""
    parts = [CONSTRAINTS.read_text(), *requirements(), platform.python_version(), platform.machine()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def site_packages(environment: Path) -> Path:
    """The environment's folder of packages."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))


def run(*command: str | Path) -> None:
    """Run a command, and end with its output shown if it fails."""
    subprocess.run([str(part) for part in command], check=True)


def shared_environment() -> Path:
    """Install the dependencies, unless an earlier checkout did."""
    target = cache_root() / f"venv-{key()}"
    if (target / "complete").exists():
        return target
    print(f"installing the dependencies into {target} (once, about 6 GB)", flush=True)
    started = time.monotonic()
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    run(target / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, *requirements())
    (target / "complete").write_text("\n".join(requirements()) + "\n")
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)
    return target


def checkout_environment(shared: Path) -> None:
    """`.venv` with this checkout in editable form, and the shared packages behind it."""
    target = ROOT / ".venv"
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=False)  # pip would bring its own, older setuptools before the shared one
    pth = site_packages(target) / "shared-dependencies.pth"
    pth.write_text(f"{site_packages(shared)}\n")
    pip = [shared / "bin" / "python", "-m", "pip", "--python", target / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ROOT)
    (target / "key").write_text(key())


def freeze() -> None:
    """Write the exact versions of the shared environment to the constraints file."""
    python = shared_environment() / "bin" / "python"
    listed = subprocess.run([python, "-m", "pip", "freeze", "--all"], check=True, stdout=subprocess.PIPE, text=True)
    lines = [line for line in listed.stdout.splitlines() if "==" in line and not line.startswith("pip==")]
    CONSTRAINTS.write_text("\n".join([CONSTRAINTS.read_text().splitlines()[0], *lines]) + "\n")


def main() -> None:
    """Make `.venv` if it is not there, or stands for other versions."""
    if sys.argv[1:] == ["--freeze"]:
        freeze()
        return
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything has checked
        sys.exit(f"Python 3.11 or newer is needed, this is {platform.python_version()}: make PYTHON=python3.11 ...")
    made = ROOT / ".venv" / "key"
    if made.exists() and made.read_text() == key() and (cache_root() / f"venv-{key()}" / "complete").exists():
        return
    checkout_environment(shared_environment())


if __name__ == "__main__":
    main()
