"""Pure: (job, observed, settings, now) -> Plan: every decision, no YAML.

Law: decides how many, which name, whether, when to stop retrying; knows neither manifests nor kopf, nor the clock.
"""

from finetune_operator.plan.attempts import Plan, State, make
from finetune_operator.plan.run import PODS, Mount, Paths, RunPlan, run_plan

__all__ = ["PODS", "Mount", "Paths", "Plan", "RunPlan", "State", "make", "run_plan"]
