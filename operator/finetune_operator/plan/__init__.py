"""Pure: (job, observed, settings, now) -> Plan: every decision, no YAML.

Law: decides how many, which name, whether, when to stop retrying; knows neither manifests nor kopf, nor the clock.
"""

from finetune_operator.plan.attempts import Plan, State, make, running
from finetune_operator.plan.export import awaits_export, export_plan
from finetune_operator.plan.judge import asked
from finetune_operator.plan.prepare import PreparePlan, assumed, prepare_plan
from finetune_operator.plan.queue import Wait
from finetune_operator.plan.run import OWN_MODEL, PODS, Mount, Paths, RunPlan, run_plan
from finetune_operator.plan.side_job import SideJobPlan

__all__ = [
    "OWN_MODEL",
    "PODS",
    "Mount",
    "Paths",
    "Plan",
    "PreparePlan",
    "RunPlan",
    "SideJobPlan",
    "State",
    "Wait",
    "asked",
    "assumed",
    "awaits_export",
    "export_plan",
    "make",
    "prepare_plan",
    "run_plan",
    "running",
]
