"""The endpoint that pods report to: who speaks is checked, what is said is kept for the next pass.

Law: writes nothing to the cluster. A token is for one job, and proves only which pod speaks (any pod can ask for any
audience): that pod must be one of the newest attempt of the very job that it speaks of.
"""

from finetune_operator.intake.server import app
from finetune_operator.intake.store import ProgressStore

__all__ = ["ProgressStore", "app"]
