"""The base class of all sections of a configuration, and the types that its settings share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

SEEDS = 2**31  # the exclusive upper bound that NumPy's legacy generators and torch accept

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Location = Annotated[str, AfterValidator(os.path.expanduser)]
"""A folder, a file or a URL, with ``~`` expanded."""
LocalPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]
"""A path on this machine, with ``~`` expanded."""
DataPath = Annotated[Path | str, BeforeValidator(lambda path: _path_or_url(path))]
"""A path on this machine, with ``~`` expanded, or a URL."""


Delimiter = Annotated[str, Field(min_length=1), AfterValidator(lambda delimiter: _one_character(delimiter))]
"""A character between the fields of a table."""
Encoding = Annotated[str, AfterValidator(lambda encoding: _known_encoding(encoding))]
"""Python's name of a codec of text."""
_ESCAPES = {r"\t": "\t", r"\n": "\n"}  # written as two characters, by a shell or in YAML without double quotes


def unescaped(text: str) -> str:
    """Return a tab or a line end for its escape, and any other text as it is."""
    return _ESCAPES.get(text, text)


def _one_character(delimiter: str) -> str:
    delimiter = unescaped(delimiter)
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ValueError(f"must be one character, and no quote or line end; got {delimiter!r}")
    return delimiter


def _known_encoding(encoding: str) -> str:
    try:
        "".encode(encoding)  # refuses codecs that are not of text, such as zip
    except (LookupError, ValueError):
        raise ValueError(f"must be an encoding that Python knows, such as cp1252; got {encoding!r}") from None
    return encoding


def _path_or_url(path: Any) -> Any:
    """Return a URL as it is, since a ``Path`` would lose one of its slashes, and anything else as a path."""
    if not isinstance(path, str | Path):
        return path
    return path if isinstance(path, str) and "://" in path else Path(os.path.expanduser(path))


class Section(BaseModel):
    """Settings under one heading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``epochs: yes``, which pydantic would read as one epoch."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"can't be yes or no, true or false; got {value!r}")
        return value
