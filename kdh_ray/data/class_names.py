"""Names of classes in place of their numbers, in tables that Hugging Face ``datasets`` wrote.

``datasets`` stores a ClassLabel as a number and its names in the schema, of Parquet files too. Without them, the labels
of a corpus would be ``0``, ``1`` and ``2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MISSING_CLASS = -1  # what ``datasets`` writes where a ClassLabel is missing
_METADATA = b"huggingface"  # key of the schema's metadata that holds the features as JSON


class ClassName(str):
    """The name of a class, with its number: a 0/1 column needs the number, and a name is never divided.

    Attributes:
        number: Its place among the names of its feature, from 0.
    """

    number: int

    def __new__(cls, name: str, number: int) -> ClassName:
        """Return a name that knows its number."""
        made = super().__new__(cls, name)
        made.number = number
        return made


def parquet_features(schema: pa.Schema) -> Mapping[str, Any]:
    """Return the features of a Parquet file that ``datasets`` wrote; nothing if it has no ClassLabel.

    Raises:
        ValueError, KeyError, TypeError: If the schema's metadata is damaged.
    """
    if b'"ClassLabel"' not in (schema.metadata or {}).get(_METADATA, b""):
        return {}  # spares the import, which takes a second
    from datasets import Features

    features: Mapping[str, Any] = Features.from_arrow_schema(schema)
    return features


def name_classes(value: Any, feature: Any) -> Any:
    """Return a value with the numbers of its classes turned into names, at any depth; None where a class is missing.

    Args:
        value: A cell of a table.
        feature: Its feature: a ``datasets`` feature, or a mapping of features for a mapping of values.
    """
    if value is None:
        return None
    if isinstance(feature, Mapping) and isinstance(value, Mapping):
        return {key: name_classes(each, feature.get(key)) for key, each in value.items()}
    if isinstance(value, list):
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
        return value if inner is None else [name_classes(each, inner) for each in value]
    names = getattr(feature, "names", None)
    if names is None or not isinstance(value, int):
        return value
    return None if value <= MISSING_CLASS else ClassName(names[value], value)
