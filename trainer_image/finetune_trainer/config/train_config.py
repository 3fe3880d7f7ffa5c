"""The whole of train.yaml as one frozen value, in the groups of LLaMA-Factory's argument classes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from finetune_trainer.config.data import DataGroup
from finetune_trainer.config.finetuning import FinetuningGroup
from finetune_trainer.config.generating import EvaluationGroup, GeneratingGroup
from finetune_trainer.config.key import Group
from finetune_trainer.config.model import ModelGroup
from finetune_trainer.config.training import TrainingGroup

GROUPS: dict[str, type[Group]] = {
    "model": ModelGroup,
    "data": DataGroup,
    "training": TrainingGroup,
    "finetuning": FinetuningGroup,
    "generating": GeneratingGroup,
    "evaluation": EvaluationGroup,
}
"""Attribute of TrainConfig -> its class, in the order in which keys are shown."""
FIELDS: dict[str, tuple[str, FieldInfo]] = {
    name: (attribute, field) for attribute, group in GROUPS.items() for name, field in group.model_fields.items()
}
"""Key -> the attribute of its group, and its definition. No key stands in two groups."""


class TrainConfig(BaseModel):
    """A checked configuration. Made by `parse` and `load`, which apply the rules between keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, protected_namespaces=())

    model: ModelGroup = Field(default_factory=ModelGroup)
    data: DataGroup = Field(default_factory=DataGroup)
    training: TrainingGroup = Field(default_factory=TrainingGroup)
    finetuning: FinetuningGroup = Field(default_factory=FinetuningGroup)
    generating: GeneratingGroup = Field(default_factory=GeneratingGroup)
    evaluation: EvaluationGroup = Field(default_factory=EvaluationGroup)
