"""Search spaces as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from searchers.parameters import PARAMETERS, Categorical, Float, Integer, Ordinal

_TYPES: dict[str, Any] = {kind.__name__: kind for kind in PARAMETERS}


def to_json(tree: Any) -> Any:
    """Return a part of a space as JSON values, with objects by name."""
    if isinstance(tree, (Float, Integer)):
        fields = {"lower": tree.lower, "upper": tree.upper, "log": tree.log, "step": tree.step}
        return {type(tree).__name__: fields}
    if isinstance(tree, (Ordinal, Categorical)):
        return {type(tree).__name__: [to_json(choice) for choice in tree.choices]}
    if isinstance(tree, Mapping) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: to_json(child) for key, child in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return {type(tree).__name__ if type(tree) in (list, tuple) else "tuple": [to_json(child) for child in tree]}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"not_finite": str(tree)}
    if tree is None or type(tree) in (bool, int, float, str):
        return {"constant": tree}
    kind = tree if hasattr(tree, "__qualname__") else type(tree)
    return {"opaque": f"{kind.__module__}.{kind.__qualname__}"}


def has_opaque(tree: Any) -> bool:
    """Return True if a result of ``to_json`` names an object."""
    ((kind, content),) = tree.items()
    if kind == "opaque":
        return True
    if kind in ("constant", "not_finite", "Float", "Integer"):
        return False
    return any(map(has_opaque, content.values() if kind == "dict" else content))


def from_json(tree: Mapping[str, Any]) -> Any:
    """Return the part of a space that ``to_json`` described; raise ValueError if it has an object."""
    ((kind, content),) = tree.items()
    if kind in ("Float", "Integer"):
        return _TYPES[kind](**content)
    if kind in ("Ordinal", "Categorical"):
        return _TYPES[kind]([from_json(choice) for choice in content])
    if kind == "dict":
        return {key: from_json(child) for key, child in content.items()}
    if kind in ("list", "tuple"):
        items = [from_json(child) for child in content]
        return items if kind == "list" else tuple(items)
    if kind == "constant":
        return content
    if kind == "not_finite":
        return float(content)
    raise ValueError(f"the state names {content}, which JSON can't hold; give the search space again")
