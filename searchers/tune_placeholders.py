"""Objects of a search space, which Ray Tune hides from searchers.

Ray Tune (2.60) replaces functions, classes, NumPy values and other objects of a ``param_space`` with placeholders
before it passes the space to a searcher. Points to evaluate name the objects themselves; only the controller knows
which placeholder stands for which object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchers.choices import same
from searchers.parameters import Categorical, Ordinal, plain
from searchers.tune_caller import calling_controller

_TOKEN = "__ref_ph"  # ray.tune.impl.placeholder._RefResolver.TOKEN


def has_placeholders(tree: Any) -> bool:
    """Return True if there are placeholders in a search space."""
    if isinstance(tree, Mapping):
        return any(map(has_placeholders, tree.values()))
    if isinstance(tree, (Categorical, Ordinal)):
        return any(map(has_placeholders, tree.choices))
    return isinstance(tree, (list, tuple)) and (_is_placeholder(tree) or any(map(has_placeholders, tree)))


def hide_objects(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a nested configuration with placeholders in place of objects, if Ray Tune is calling."""
    controller = calling_controller()
    resolvers = getattr(controller, "_placeholder_resolvers", None) or {}
    for path, candidates in resolvers.items():
        config = _hidden(config, path, candidates)
    return config


def _hidden(tree: Any, path: Sequence[Any], candidates: Sequence[Any]) -> Any:
    """Return a part of a configuration with a placeholder at ``path``."""
    if not path:
        return _placeholder(tree, candidates)
    key, rest = path[0], path[1:]
    if isinstance(tree, Mapping) and key in tree:
        return {**tree, key: _hidden(tree[key], rest, candidates)}
    if isinstance(tree, (list, tuple)) and isinstance(key, int) and key < len(tree) and not _is_placeholder(tree):
        items = [_hidden(item, rest, candidates) if i == key else item for i, item in enumerate(tree)]
        return items if isinstance(tree, list) else tuple(items)
    return tree


def _placeholder(value: Any, candidates: Sequence[Any]) -> Any:
    """Return the placeholder of a value; the value itself if it has none."""
    for candidate in candidates:
        if same(plain(candidate._value), plain(value)):
            return candidate.get_placeholder()
    is_object = not (value is None or isinstance(value, (bool, int, float, str)) or _is_placeholder(value))
    # Ray Tune copies the space. A constant without equality is recognised by being the only object at its place.
    return candidates[0].get_placeholder() if is_object and len(candidates) == 1 else value


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and value[0] == _TOKEN
