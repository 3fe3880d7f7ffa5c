"""What all records share: they travel as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A value that travels as JSON; unknown keys of a newer writer are left out on reading."""

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: not JSON, not an object, or a field is missing.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError(f"{cls.__name__}: expected a JSON object")  # noqa: TRY004 - what a file says, not a type
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{key: value for key, value in raw.items() if key in known})
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from error
