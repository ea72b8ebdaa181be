"""Conversion of Ray Tune's search spaces to `searchers.space.Space`.

Bounds follow Tune's sampling, not its signatures. ``randint`` and ``lograndint`` exclude their upper bound;
``quniform``, ``qloguniform`` and ``qrandint`` include it, except ``qrandint`` with q=1. Grids are multiples of q.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.search import sample

from searchers.parameters import Categorical, Float, Integer, Parameter
from searchers.space import Space

NORMAL_RANGE = 3.0
"""``randn`` has no bounds, but a swarm needs some: it is searched over mean +- 3 standard deviations."""


def convert(config: Mapping[str, Any], keep_objects: bool = True) -> Space:
    """Convert a Tune ``param_space``; everything but domains becomes a constant.

    Args:
        config: A dict of domains, constants, and dicts and lists of them.
        keep_objects: False leaves out constants that JSON can't hold, such as data sets. Tune passes those to each
            trial itself, so a searcher's state need not hold them.

    Raises:
        ValueError: If there is a ``grid_search``, a ``sample_from`` or an unbounded domain. The message says where, and
            what to use instead.
    """
    tree = _convert(config, ())
    if keep_objects:
        return Space(tree)
    parts = {key: Space({key: value}) for key, value in tree.items()}
    kept = [key for key, part in parts.items() if part.n_parameters or Space.is_restorable(part.to_json())]
    return Space({key: tree[key] for key in kept})


def _convert(tree: Any, path: tuple[str, ...]) -> Any:
    if isinstance(tree, Mapping):
        if set(tree) == {"grid_search"}:
            raise ValueError(
                f"{_name(path)}: a swarm can't search grid_search; use tune.choice({tree['grid_search']!r})"
            )
        return {key: _convert(child, (*path, str(key))) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        children = [_convert(child, (*path, str(i))) for i, child in enumerate(tree)]
        return children if isinstance(tree, list) else tuple(children)
    if isinstance(tree, sample.Categorical) and not tree.is_grid():
        return Categorical([_convert(choice, (*path, str(i))) for i, choice in enumerate(tree.categories)])
    if isinstance(tree, sample.Domain):
        try:
            return _convert_domain(tree)
        except ValueError as error:
            raise ValueError(f"{_name(path)}: {error}") from None
    return tree


def _convert_domain(domain: sample.Domain) -> Parameter:
    if domain.is_function():
        raise ValueError(
            "a swarm can't search sample_from; use a domain such as tune.uniform. If the value depends on another one, "
            "compute it in the trainable, or nest domains in tune.choice"
        )
    if domain.is_grid():
        raise ValueError(f"a swarm can't search a grid; use tune.choice({list(domain.categories)!r})")
    sampler, step = domain.get_sampler(), None
    if isinstance(sampler, sample.Quantized):
        sampler, step = sampler.get_sampler(), sampler.q
    if isinstance(domain, sample.Integer):
        return _integer(domain, isinstance(sampler, sample.LogUniform), step)
    if isinstance(domain, sample.Float):
        return _float(domain, sampler, step)
    raise ValueError(f"a swarm can't search a {type(domain).__name__}; use a domain of ray.tune")


def _integer(domain: sample.Integer, log: bool, step: int | None) -> Integer:
    if step is None or step == 1:
        return Integer(int(domain.lower), int(domain.upper) - 1, log=log)
    first, last = math.ceil(domain.lower / step), math.floor(domain.upper / step)
    if last < first:
        raise ValueError(f"no multiple of {step} is from {domain.lower} to {domain.upper}")
    return Integer(first * int(step), last * int(step), log=log, step=int(step))


def _float(domain: sample.Float, sampler: sample.Sampler, step: float | None) -> Float:
    lower, upper = domain.lower, domain.upper
    if isinstance(sampler, sample.Normal):
        reach = NORMAL_RANGE * sampler.sd
        lower, upper = sampler.mean - reach, sampler.mean + reach
        if step is not None:
            lower, upper = math.ceil(lower / step) * step, math.floor(upper / step) * step
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise ValueError(f"a swarm needs bounds, but this domain is from {lower} to {upper}; use tune.uniform")
    return Float(float(lower), float(upper), log=isinstance(sampler, sample.LogUniform), step=step)


def _name(path: tuple[str, ...]) -> str:
    return "/".join(path) or "the search space"
