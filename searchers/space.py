"""A search space and its unit cube: nested dicts and lists of parameters and constants <-> positions in [0, 1]^d.

A parameter inside a choice of a categorical exists only where that choice is taken (a conditional parameter). Its
coordinates stay in every position, as in Optuna's and ConfigSpace's vectors, and simply do not count elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from searchers.parameters import PARAMETERS, Array, Categorical, Float, Integer, Ordinal, Parameter, same

__all__ = ["Array", "Categorical", "Float", "Integer", "Ordinal", "Parameter", "Space"]


@dataclass(frozen=True)
class _Leaf:
    """A parameter, its coordinates, and the choice of another leaf under which it exists."""

    path: str
    parameter: Parameter
    start: int
    parent: tuple[int, int] | None  # leaf, choice

    @property
    def units(self) -> slice:
        return slice(self.start, self.start + self.parameter.width)


@dataclass(frozen=True)
class _Node:
    """The space's tree with parameters replaced by their leaves' numbers."""

    kind: str  # leaf, choice, dict, list, tuple, constant
    value: Any = None  # the constant, or the leaf's number
    children: tuple[_Node, ...] = ()
    keys: tuple[str, ...] = ()
    size: float = 1.0


class Space:
    """A search space over the unit cube.

    Args:
        tree: A dict of parameters, constants, and dicts and lists of them.

    Attributes:
        n_dims: Coordinates of a position (a categorical has one a choice).
        parameters: All of them, conditional ones included, in the order of the tree.
        n_parameters: How many.
        is_conditional: True if some parameter exists only under another's choice.
        size: Number of configurations; infinite if any parameter is continuous.

    Raises:
        ValueError: If the tree is no dict, or a key no string.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        if not isinstance(tree, Mapping):
            raise ValueError(f"a search space is a dict of parameters; got {type(tree).__name__}")
        self.tree = tree
        self._leaves: list[_Leaf] = []
        self.n_dims = 0
        self._root = self._compile(tree, (), None)
        self.n_parameters = len(self._leaves)
        self.size = self._root.size
        self._discrete = [leaf for leaf in self._leaves if math.isfinite(leaf.parameter.size)]
        self.parameters = [leaf.parameter for leaf in self._leaves]
        self.is_conditional = any(leaf.parent is not None for leaf in self._leaves)

    def _compile(self, tree: Any, path: tuple[str, ...], parent: tuple[int, int] | None) -> _Node:
        if isinstance(tree, PARAMETERS):
            return self._compile_parameter(tree, path, parent)
        if isinstance(tree, Mapping):
            strange = [key for key in tree if not isinstance(key, str)]
            if strange and path and not _has_parameters(tree):  # a table of the user's, such as names of labels
                return _Node("constant", tree)
            if strange:
                raise ValueError(f"keys of a search space are strings; got {strange[0]!r}")
            children = tuple(self._compile(child, (*path, key), parent) for key, child in tree.items())
            return _Node("dict", None, children, tuple(tree), _product(children))
        if isinstance(tree, (list, tuple)):
            children = tuple(self._compile(child, (*path, str(i)), parent) for i, child in enumerate(tree))
            return _Node("list" if isinstance(tree, list) else "tuple", None, children, (), _product(children))
        return _Node("constant", tree)

    def _compile_parameter(self, parameter: Parameter, path: tuple[str, ...], parent: tuple[int, int] | None) -> _Node:
        number = len(self._leaves)
        self._leaves.append(_Leaf("/".join(path), parameter, self.n_dims, parent))
        self.n_dims += parameter.width
        if not isinstance(parameter, Categorical):
            return _Node("leaf", number, size=parameter.size)
        children = tuple(self._compile(choice, path, (number, i)) for i, choice in enumerate(parameter.choices))
        return _Node("choice", number, children, (), sum(child.size for child in children))

    # Positions and configurations

    def decode(self, position: Array) -> dict[str, Any]:
        """The configuration at a position, shape (n_dims,): plain Python values, only parameters that exist."""

        def pick(number: int, parameter: Parameter) -> Any:
            units = position[self._leaves[number].units]
            return int(np.argmax(units)) if isinstance(parameter, Categorical) else parameter.decode(units)

        return self.build(pick)

    def build(self, pick: Callable[[int, Parameter], Any]) -> dict[str, Any]:
        """A configuration from ``pick(number, parameter)``, asked only for parameters that exist.

        ``pick`` returns the value; of a categorical, the number of its choice. Numbers are places in ``parameters``.
        """
        config: dict[str, Any] = self._build(self._root, pick)
        return config

    def _build(self, node: _Node, pick: Callable[[int, Parameter], Any]) -> Any:
        if node.kind == "constant":
            return node.value
        if node.kind in ("leaf", "choice"):
            leaf = self._leaves[node.value]
            value = pick(node.value, leaf.parameter)
            return value if node.kind == "leaf" else self._build(node.children[value], pick)
        children = [self._build(child, pick) for child in node.children]
        if node.kind == "dict":
            return dict(zip(node.keys, children, strict=True))
        return children if node.kind == "list" else tuple(children)

    def encode(self, config: Mapping[str, Any], fill: Array | None = None, strict: bool = True) -> Array:
        """The position of a configuration, shape (n_dims,).

        Args:
            config: Nested as the space, or flat with keys such as ``"model/layers"``.
            fill: Position to take what ``config`` lacks from; without it every parameter that exists is needed.
            strict: Refuse keys that the space has not.

        Raises:
            ValueError: If a value is outside its parameter, a key is unknown, or a parameter is missing.
        """
        position = np.full(self.n_dims, np.nan) if fill is None else fill.copy()
        self._encode(self._root, _unflatten(config, self.tree), position, "", strict)
        missing = [leaf.path for leaf in self._leaves if np.isnan(position[leaf.units]).any()]
        position = self._fill_inactive(position)
        missing = [leaf.path for leaf in self._leaves if np.isnan(position[leaf.units]).any()] if missing else []
        if missing:
            raise ValueError(f"a configuration needs every parameter; missing {', '.join(missing)}")
        return position

    def _encode(self, node: _Node, value: Any, position: Array, path: str, strict: bool) -> None:
        if node.kind == "dict":
            if not isinstance(value, Mapping):
                raise ValueError(f"{path or 'a configuration'} is a dict; got {value!r}")
            unknown = [key for key in value if key not in node.keys]
            if strict and unknown:
                raise ValueError(f"the search space has no {path}{unknown[0]}; it has {', '.join(node.keys)}")
            for key, child in zip(node.keys, node.children, strict=True):
                if key in value:
                    self._encode(child, value[key], position, f"{path}{key}/", strict)
        elif node.kind in ("list", "tuple"):
            if not isinstance(value, (list, tuple)) or len(value) != len(node.children):
                raise ValueError(f"{path[:-1]} is a list of {len(node.children)}; got {value!r}")
            for i, (child, item) in enumerate(zip(node.children, value, strict=True)):
                self._encode(child, item, position, f"{path}{i}/", strict)
        elif node.kind == "leaf":
            leaf = self._leaves[node.value]
            try:
                position[leaf.units] = leaf.parameter.encode(value)
            except ValueError as error:
                raise ValueError(f"{path[:-1]}: {error}") from None
        elif node.kind == "choice":
            self._encode_choice(node, value, position, path)
        elif strict and not _is_constant(node.value, value):
            raise ValueError(f"{path[:-1]} is always {node.value!r}; got {value!r}")

    def _encode_choice(self, node: _Node, value: Any, position: Array, path: str) -> None:
        leaf = self._leaves[node.value]
        exact = [i for i, child in enumerate(node.children) if child.kind == "constant" and same(child.value, value)]
        for index in exact or range(len(node.children)):
            trial = position.copy()
            try:
                self._encode(node.children[index], value, trial, path, strict=True)
            except ValueError:
                continue
            trial[leaf.units] = leaf.parameter.at(index)
            position[:] = trial
            return
        choices = getattr(leaf.parameter, "choices", ())
        raise ValueError(f"{path[:-1]} takes one of {list(choices)!r}; got {value!r}")

    def _fill_inactive(self, position: Array) -> Array:
        """0.5 for the coordinates, still NaN, of parameters that do not exist at ``position``."""
        active = self._active(np.nan_to_num(position[None, :]))[0]
        for leaf, exists in zip(self._leaves, active, strict=True):
            if not exists:
                position[leaf.units] = np.where(np.isnan(position[leaf.units]), 0.5, position[leaf.units])
        return position

    # Many positions at once

    def _active(self, snapped: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(n, n_dims) snapped positions -> (n, n_parameters): which parameters exist."""
        active = np.ones((len(snapped), self.n_parameters), dtype=bool)
        for number, leaf in enumerate(self._leaves):
            if leaf.parent is not None:
                parent, choice = leaf.parent
                chosen = np.argmax(snapped[:, self._leaves[parent].units], axis=1) == choice
                active[:, number] = active[:, parent] & chosen
        return active

    def snap(self, positions: Array) -> Array:
        """(n, n_dims) -> (n, n_dims): rows of different configurations differ; of equal ones, they are equal.

        Discrete values go to the middle of their cell, parameters that do not exist to 0.5. Real numbers stay as they
        are: two that decode to one, by its 12 digits, still differ. For those see ``identify``.
        """
        snapped = positions + 0.0  # -0.0 and 0.0 are one place
        for leaf in self._discrete:
            snapped[:, leaf.units] = leaf.parameter.snap(positions[:, leaf.units])
        if self.is_conditional:
            active = self._active(snapped)
            for number, leaf in enumerate(self._leaves):
                snapped[~active[:, number], leaf.units] = 0.5
        return snapped

    def identify(self, position: Array) -> Array:
        """(n_dims,) -> (n_dims,): equal exactly where the configurations are: snapped, real numbers as they decode."""
        identity: Array = self.snap(position[None, :])[0]
        active = self._active(identity[None, :])[0] if self.is_conditional else None
        for number, leaf in enumerate(self._leaves):
            if math.isinf(leaf.parameter.size) and (active is None or active[number]):
                identity[leaf.units] = leaf.parameter.decode(position[leaf.units])
        return identity + 0.0  # -0.0 and 0.0 are one value

    def loosen(self, position: Array, rng: np.random.Generator) -> Array:
        """A position, (n_dims,), of an infinite space where some real number exists: choices are changed until so."""
        loosened = position.copy()
        node = self._root
        while node.kind != "leaf":
            endless = [i for i, child in enumerate(node.children) if math.isinf(child.size)]
            chosen = endless[int(rng.integers(len(endless)))]
            if node.kind == "choice":
                leaf = self._leaves[node.value]
                now = int(np.argmax(loosened[leaf.units]))
                chosen = now if now in endless else chosen
                loosened[leaf.units] = leaf.parameter.at(chosen)
            node = node.children[chosen]
        return loosened

    def spread(self, uniform: Array) -> Array:
        """Uniform numbers (n_parameters,) -> a position (n_dims,) whose configuration is uniformly drawn."""
        parts = [leaf.parameter.spread(float(u)) for leaf, u in zip(self._leaves, uniform, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0)

    def position_at(self, index: int) -> Array:
        """The position of the ``index``-th configuration of a finite space, 0 <= index < size."""
        position = np.full(self.n_dims, 0.5)
        self._place(self._root, index, position)
        return position

    def _place(self, node: _Node, index: int, position: Array) -> None:
        if node.kind == "leaf":
            leaf = self._leaves[node.value]
            position[leaf.units] = leaf.parameter.at(index)
        elif node.kind == "choice":
            leaf = self._leaves[node.value]
            for choice, child in enumerate(node.children):
                if index < child.size:
                    position[leaf.units] = leaf.parameter.at(choice)
                    self._place(child, index, position)
                    return
                index -= int(child.size)
        else:
            for child in node.children:
                index, rest = divmod(index, int(child.size))
                self._place(child, rest, position)

    # JSON

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values; of a choice or constant that JSON lacks (a function, a class) just the name."""
        tree: dict[str, Any] = _to_json(self.tree)
        return tree

    @staticmethod
    def is_whole(tree: Mapping[str, Any]) -> bool:
        """True if ``from_json`` can make the space again from ``tree``, what ``to_json`` gave."""
        return not _has_opaque(tree)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Space:
        """The space that ``to_json`` described.

        Raises:
            ValueError: If it holds values that JSON lacks (functions, classes).
        """
        return cls(_from_json(tree))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Space({self.tree!r})"


def _has_parameters(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(map(_has_parameters, tree.values()))
    return isinstance(tree, PARAMETERS) or (isinstance(tree, (list, tuple)) and any(map(_has_parameters, tree)))


def _product(nodes: tuple[_Node, ...]) -> float:
    size: float = 1
    for node in nodes:
        size *= node.size
    return size


def _is_constant(constant: Any, value: Any) -> bool:
    if same(constant, value):
        return True
    try:
        return not isinstance(value, bool) and bool(constant == value)
    except (TypeError, ValueError):  # arrays
        return False


def _unflatten(config: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a/b": 1}`` -> ``{"a": {"b": 1}}`` for keys that the space itself does not spell with a slash."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        head, slash, rest = key.partition("/") if isinstance(key, str) else (key, "", "")
        if not slash or key in tree:
            result[key] = value
            continue
        inner = result.get(head)
        child = tree.get(head)
        nested = {**inner, rest: value} if isinstance(inner, dict) else {rest: value}
        result[head] = _unflatten(nested, child if isinstance(child, Mapping) else {})
    return result


_TYPES: dict[str, Any] = {kind.__name__: kind for kind in PARAMETERS}


def _to_json(tree: Any) -> Any:
    if isinstance(tree, (Float, Integer)):
        fields = {"lower": tree.lower, "upper": tree.upper, "log": tree.log, "step": tree.step}
        return {type(tree).__name__: fields}
    if isinstance(tree, (Ordinal, Categorical)):
        return {type(tree).__name__: [_to_json(choice) for choice in tree.choices]}
    if isinstance(tree, Mapping) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _to_json(child) for key, child in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return {type(tree).__name__ if type(tree) in (list, tuple) else "tuple": [_to_json(child) for child in tree]}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"not_finite": str(tree)}
    if tree is None or type(tree) in (bool, int, float, str):
        return {"constant": tree}
    kind = tree if hasattr(tree, "__qualname__") else type(tree)
    return {"opaque": f"{kind.__module__}.{kind.__qualname__}"}


def _has_opaque(tree: Any) -> bool:
    ((kind, content),) = tree.items()
    if kind == "opaque":
        return True
    if kind in ("constant", "not_finite", "Float", "Integer"):
        return False
    return any(map(_has_opaque, content.values() if kind == "dict" else content))


def _from_json(tree: Mapping[str, Any]) -> Any:
    ((kind, content),) = tree.items()
    if kind in ("Float", "Integer"):
        return _TYPES[kind](**content)
    if kind in ("Ordinal", "Categorical"):
        return _TYPES[kind]([_from_json(choice) for choice in content])
    if kind == "dict":
        return {key: _from_json(child) for key, child in content.items()}
    if kind in ("list", "tuple"):
        items = [_from_json(child) for child in content]
        return items if kind == "list" else tuple(items)
    if kind == "constant":
        return content
    if kind == "not_finite":
        return float(content)
    raise ValueError(f"the state names {content}, which JSON can't hold; give the search space again")
