"""What every part of the manifest is made of: camelCase outside, snake_case inside, no surprises in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from finetune_operator import names

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]{1,2})?$"
"""A Kubernetes quantity that is not negative: 64, 0.5, 500m, 80Gi, 1e3."""


def _whole(value: object) -> object:
    """3.0 is 3: the API server and YAML writers turn one into the other."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> object:
    """64 is "64": quantities are written with and without quotation marks."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _of_the_jobs_namespace(text: str) -> str:
    """No path, and nothing of another namespace."""
    if not names.is_name(text):
        raise ValueError(f"must be the name of an object of the job's own namespace, e.g. runs, not {text[:60]}")
    return text


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_of_the_jobs_namespace)]
Seconds = Annotated[Whole, Field(ge=0, le=2_147_483_647)]
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY),
    BeforeValidator(_text),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": QUANTITY}),
]


class Part(BaseModel):
    """A frozen part of the manifest; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_unsaid(cls, values: object) -> object:
        """A null stands for the default, as at the API server, unless the field has a meaning for it."""
        if not isinstance(values, Mapping):
            return values
        meaningful = {
            field.alias or name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)
        }
        return {key: value for key, value in values.items() if value is not None or key in meaningful}
