"""Plan -> processes on this machine: the cluster's part of a job, played by folders and child processes.

Law: parse, plan and render are the operator's own, and decide here as they do there; this room makes ConfigMaps and
claims into folders, pods into processes, and their ends into `Observed`. No Kubernetes, no torch.
"""

from finetune_operator.local.folders import FolderMissing, Folders
from finetune_operator.local.run import STOPPED, LocalRun, run

__all__ = ["STOPPED", "FolderMissing", "Folders", "LocalRun", "run"]
