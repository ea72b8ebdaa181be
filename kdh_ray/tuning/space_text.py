"""A search space as text that is the same in every session, to notice that a search is resumed with another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = (bool, int, float, str, type(None))


def space_text(space: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each setting, nested ones dotted, and what values it may have.

    >>> from ray import tune
    >>> space_text({"lr": tune.loguniform(1e-5, 0.1), "net": {"layers": tune.choice([1, 2])}})
    {'lr': 'Float (1e-05, 0.1) LogUniform', 'net.layers': 'choice of 1, 2'}

    Objects that are neither numbers nor text, such as functions, are named by their type: their own text may differ
    from process to process.
    """
    texts: dict[str, str] = {}
    for name, value in space.items():
        if isinstance(value, Mapping) and value and "grid_search" not in value:
            texts |= {f"{name}.{inner}": text for inner, text in space_text(value).items()}
        else:
            texts[str(name)] = _text(value)
    return texts


def _text(value: Any) -> str:
    from ray.tune.search.sample import Categorical, Domain, Float, Integer

    if isinstance(value, Categorical):
        return "choice of " + ", ".join(map(_text, value.categories))
    if isinstance(value, Float | Integer):
        sampler = value.get_sampler()
        step = f" in steps of {sampler.q}" if hasattr(sampler, "q") else ""
        return f"{type(value).__name__} {value.domain_str} {getattr(sampler, 'sampler', sampler)}{step}"
    if isinstance(value, Domain):
        return type(value).__name__
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value) if isinstance(value, _PLAIN) else type(value).__name__
