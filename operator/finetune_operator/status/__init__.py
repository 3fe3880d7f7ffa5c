"""Pure: (job, plan, observed, now) -> status: conditions, reasons, progress.

Law: says where the job stands, in kstatus' words and in people's; knows neither how it is written nor what to do next.
"""

from finetune_operator.status.events import events
from finetune_operator.status.progress import only_progress
from finetune_operator.status.report import of, refused, rejected

__all__ = ["events", "of", "only_progress", "refused", "rejected"]
