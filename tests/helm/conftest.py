"""The real Helm, built from its Go module and cached with the cluster's programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.harness import binaries, layout

Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def helm(pytestconfig: pytest.Config) -> Helm:
    """Runs `helm` with these arguments; the caller looks at how it ended."""
    ours = layout.default()
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        binaries.ensure(ours, print)
    program = binaries.HELM.path(ours)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [str(program), *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    return run
