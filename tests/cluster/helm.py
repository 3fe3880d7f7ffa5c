"""The real Helm and our chart, as a platform team installs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import binaries
from .harness.images import OPERATOR_IMAGE, TRAINER_IMAGE
from .harness.layout import CHECKOUT, Layout
from .harness.waiting import ClusterError
from .overlay import python_overlay

CHART = CHECKOUT / "helm" / "finetune-operator"
PREVIOUS = Path(__file__).parent / "previous" / "finetune-operator-0.1.0.tgz"
"""`helm package` of the chart at 1756f4e, with its CRD: the last one before 0.2.0."""
LIMIT = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One release in a namespace of its own."""

    layout: Layout
    name: str
    namespace: str
    folder: Path
    """For the files of values."""

    def install(self, values: Mapping[str, Any], chart: Path = CHART) -> str:
        """`helm install --wait`. The harness has applied our CRD: the release takes it over."""
        return self._run("install", *self._said(values, chart), "--create-namespace", "--take-ownership")

    def upgrade(self, values: Mapping[str, Any]) -> str:
        """`helm upgrade --wait`."""
        return self._run("upgrade", *self._said(values, CHART))

    def test(self) -> str:
        """`helm test`."""
        return self._run("test", self.name)

    def uninstall(self) -> str:
        """`helm uninstall --wait`; nothing where it is not installed."""
        return self._run("uninstall", self.name, "--wait", "--ignore-not-found")

    def _said(self, values: Mapping[str, Any], chart: Path) -> tuple[str, ...]:
        file = self.folder / "values.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        return (self.name, str(chart), "-f", str(file), "--wait", f"--timeout={LIMIT}s")

    def _run(self, *arguments: str) -> str:
        """Raises ClusterError: Helm failed; the message has its output."""
        program = binaries.HELM.path(self.layout)
        argv = [str(program), f"--kubeconfig={self.layout.kubeconfig}", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT + 30)
        if done.returncode:
            raise ClusterError(f"helm {arguments[0]}: {done.stderr}{done.stdout}")
        return done.stdout


def values(**said: Any) -> dict[str, Any]:
    """What makes the chart run on the test cluster: this machine's Python in its pods, quick clocks."""
    overlay = python_overlay("operator")["spec"]
    (container,) = overlay["containers"]
    image, trainer = (name.rpartition(":") for name in (OPERATOR_IMAGE, TRAINER_IMAGE))
    settings = {"allowHostPath": True, "backoffSeconds": 1, "progressSeconds": 1, **said.pop("settings", {})}
    return {
        "image": {"repository": image[0], "tag": image[2]},
        "trainerImage": {"repository": trainer[0], "tag": trainer[2]},
        "settings": settings,
        "extraVolumes": overlay["volumes"],
        "extraVolumeMounts": container["volumeMounts"],
        "extraEnv": container["env"],
        **said,
    }
