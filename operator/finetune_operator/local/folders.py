"""ConfigMaps, claims and the pods' own volumes as folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune_operator.plan import Mount, Paths
from finetune_operator.render import Manifest


class FolderMissing(ValueError):
    """A claim that the job reads has no folder on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """Where one job's things lie: claims are shared by all jobs of a work folder, the rest is the job's alone."""

    workdir: Path
    namespace: str
    job: str
    given: Mapping[str, Path] = field(default_factory=dict)
    """Claim -> folder, for claims that don't lie in <workdir>/claims."""

    @property
    def root(self) -> Path:
        """Configuration, logs and run folders of this job."""
        return self.workdir / "jobs" / self.namespace / self.job

    @property
    def paths(self) -> Paths:
        """What the plan gives the trainer instead of the paths in a pod."""
        mounts = self.root / "mounts"
        return Paths(
            config=str(self.root / "config"),
            output=str(mounts / "output"),
            cache=str(mounts / "models"),
            claims=str(mounts / "claims"),
            run=str(self.root / "run"),
        )

    def claim(self, name: str) -> Path:
        """The folder that stands for a PersistentVolumeClaim."""
        return self.given.get(name, self.workdir / "claims" / name)

    def attempt(self, number: int) -> Path:
        """Run folders, logs and termination messages of one attempt."""
        return self.root / f"attempt-{number}"

    def clear(self) -> None:
        """Forget an earlier run of this job: its configuration and logs, never a claim."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)

    def mount(self, mounts: Iterable[Mount]) -> None:
        """Put each claim's folder at its path in the pod, as a link.

        Raises:
            FolderMissing: nothing lies where a claim that is only read should be.
        """
        for mount in mounts:
            target = self._source(mount)
            link = Path(mount.path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target.resolve(), target_is_directory=True)

    def write(self, manifests: Iterable[Manifest]) -> None:
        """The ConfigMaps' files, in one folder as in a pod."""
        config = Path(self.paths.config)
        config.mkdir(parents=True, exist_ok=True)
        for manifest in manifests:
            for name, text in manifest["data"].items() if manifest["kind"] == "ConfigMap" else ():
                (config / name).write_text(text, encoding="utf-8")

    def _source(self, mount: Mount) -> Path:
        """The folder behind a mount; what is written to is made, what is read must be there."""
        if mount.claim is None:
            folder = self.root / "volumes" / mount.volume
        else:
            folder = self.claim(mount.claim) / (mount.sub_path or "")
        if mount.read_only and not folder.is_dir():
            raise FolderMissing(
                f"claim {mount.claim}: no folder {folder}; make it, or say --claim {mount.claim}=FOLDER"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder
