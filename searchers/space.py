"""Search space: a map between nested configurations and positions in the unit cube [0, 1]^d.

A parameter inside a choice of a categorical is conditional: it exists only where that choice is taken. Every position
has coordinates for it, as in Optuna's and ConfigSpace's vectors; elsewhere they are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from searchers.choices import listed, same
from searchers.parameters import PARAMETERS, Array, Categorical, Float, Integer, Ordinal, Parameter
from searchers.space_json import from_json, has_opaque, to_json

__all__ = ["Array", "Categorical", "Float", "Integer", "Ordinal", "Parameter", "Space"]


@dataclass(frozen=True)
class _Leaf:
    """A parameter of the tree, its first coordinate, and the choice under which it exists."""

    path: str
    parameter: Parameter
    start: int
    parent: tuple[int, int] | None  # index of a categorical's leaf, and of its choice; None if unconditional

    @property
    def units(self) -> slice:
        return slice(self.start, self.start + self.parameter.width)

    def chosen(self, positions: Array) -> NDArray[np.intp]:
        """Return the indices, (n,), of the choices of a categorical at positions, (n, n_dims)."""
        return cast(Categorical, self.parameter).indices(positions[:, self.units])


@dataclass(frozen=True)
class _Node:
    """A node of the space's tree, in which parameters are replaced by the indices of their leaves."""

    kind: str  # leaf, choice, dict, list, tuple, constant
    value: Any = None  # the constant, or the leaf's index
    children: tuple[_Node, ...] = ()
    keys: tuple[str, ...] = ()
    size: float = 1.0

    @property
    def constant(self) -> bool:
        """True if there is no parameter below."""
        return self.kind not in ("leaf", "choice") and all(child.constant for child in self.children)


class Space:
    """A search space over the unit cube.

    Args:
        tree: A dict of parameters, constants, and dicts and lists of them.

    Attributes:
        n_dims: Number of coordinates of a position; a categorical has one per choice.
        parameters: All parameters, conditional ones included, in the order of the tree.
        n_parameters: Number of parameters.
        is_conditional: True if some parameter exists only under a choice of another one.
        size: Number of configurations; infinite if any parameter is continuous.

    Raises:
        ValueError: If the tree is not a dict, or a key is not a string.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        if not isinstance(tree, Mapping):
            raise ValueError(f"a search space must be a dict of parameters; got {type(tree).__name__}")
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
            other_keys = [key for key in tree if not isinstance(key, str)]
            if other_keys and path and not _has_parameters(tree):  # a constant table, such as label ids and names
                return _Node("constant", tree)
            if other_keys:
                raise ValueError(f"keys of a search space must be strings; got {other_keys[0]!r}")
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

    def with_one_hot(self) -> Space:
        """Return this space with a coordinate per choice, however many there are, as earlier versions had it."""
        return Space(_with_one_hot(self.tree))

    # Positions and configurations

    def decode(self, position: Array) -> dict[str, Any]:
        """Return the configuration at a position, (n_dims,), in plain Python values."""

        def pick(index: int, parameter: Parameter) -> Any:
            leaf = self._leaves[index]
            if isinstance(parameter, Categorical):
                return int(leaf.chosen(position[None, :])[0])
            return parameter.decode(position[leaf.units])

        return self.build(pick)

    def build(self, pick: Callable[[int, Parameter], Any]) -> dict[str, Any]:
        """Build a configuration from the values that ``pick(index, parameter)`` returns.

        Args:
            pick: Function from a parameter, and its index in ``parameters``, to its value; for a categorical, to the
                index of its choice. It is called only for parameters that exist.
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
        """Return the position of a configuration, (n_dims,).

        Args:
            config: Nested like the space, or flat with keys such as ``"model/layers"``.
            fill: Position, (n_dims,), for the parameters that ``config`` lacks. Without it, they are an error.
            strict: Raise an error for keys that are not in the space and for other constants, instead of ignoring them.

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
        if not strict and node.constant:
            return
        if node.kind == "dict":
            if not isinstance(value, Mapping):
                raise ValueError(f"{path or 'a configuration'} must be a dict; got {value!r}")
            unknown = [key for key in value if key not in node.keys]
            if strict and unknown:
                raise ValueError(f"the search space has no {path}{unknown[0]}; it has {', '.join(node.keys)}")
            for key, child in zip(node.keys, node.children, strict=True):
                if key in value:
                    self._encode(child, value[key], position, f"{path}{key}/", strict)
        elif node.kind in ("list", "tuple"):
            if not isinstance(value, (list, tuple)) or len(value) != len(node.children):
                raise ValueError(f"{path[:-1]} must be a list of {len(node.children)}; got {value!r}")
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
        elif not _is_constant(node.value, value):
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
        raise ValueError(f"{path[:-1]} takes {listed(choices)}; got {value!r}")

    def _fill_inactive(self, position: Array) -> Array:
        """Set the coordinates that are still NaN, of parameters that do not exist at ``position``, to 0.5."""
        active = self._active(np.nan_to_num(position[None, :]))[0]
        for leaf, exists in zip(self._leaves, active, strict=True):
            if not exists:
                position[leaf.units] = np.where(np.isnan(position[leaf.units]), 0.5, position[leaf.units])
        return position

    # Many positions at once

    def _active(self, snapped: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which parameters exist at snapped positions, (n, n_dims): a mask (n, n_parameters)."""
        active = np.ones((len(snapped), self.n_parameters), dtype=bool)
        for number, leaf in enumerate(self._leaves):
            if leaf.parent is not None:
                parent, choice = leaf.parent
                active[:, number] = active[:, parent] & (self._leaves[parent].chosen(snapped) == choice)
        return active

    def snap(self, positions: Array) -> Array:
        """Return positions, (n, n_dims), with each discrete value in the middle of its cell.

        Parameters that do not exist are at 0.5. So positions of equal configurations are equal, and those of different
        ones differ. The exception is real numbers that decode to the same 12 digits: see ``identify``.
        """
        snapped = positions + 0.0  # turns -0.0 into 0.0
        for leaf in self._discrete:
            snapped[:, leaf.units] = leaf.parameter.snap(positions[:, leaf.units])
        if self.is_conditional:
            active = self._active(snapped)
            for number, leaf in enumerate(self._leaves):
                snapped[~active[:, number], leaf.units] = 0.5
        return snapped

    def identify(self, position: Array) -> Array:
        """Return the identity, (n_dims,), of a position's configuration: equal exactly for equal configurations.

        It is the snapped position with real numbers replaced by the decoded values.
        """
        identity: Array = self.snap(position[None, :])[0]
        active = self._active(identity[None, :])[0] if self.is_conditional else None
        for number, leaf in enumerate(self._leaves):
            if math.isinf(leaf.parameter.size) and (active is None or active[number]):
                identity[leaf.units] = leaf.parameter.decode(position[leaf.units])
        return identity + 0.0  # turns -0.0 into 0.0

    def activate_real(self, position: Array, rng: np.random.Generator) -> Array:
        """Change choices of a position, (n_dims,), of an infinite space so that a continuous parameter exists there."""
        changed = position.copy()
        node = self._root
        while node.kind != "leaf":
            infinite = [i for i, child in enumerate(node.children) if math.isinf(child.size)]
            chosen = infinite[int(rng.integers(len(infinite)))]
            if node.kind == "choice":
                leaf = self._leaves[node.value]
                current = int(leaf.chosen(changed[None, :])[0])
                chosen = current if current in infinite else chosen
                changed[leaf.units] = leaf.parameter.at(chosen)
            node = node.children[chosen]
        return changed

    def from_uniform(self, uniform: Array) -> Array:
        """Return the position, (n_dims,), of a uniformly drawn configuration.

        Args:
            uniform: Uniform random numbers in [0, 1), (n_parameters,).
        """
        parts = [leaf.parameter.from_uniform(float(u)) for leaf, u in zip(self._leaves, uniform, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0)

    def position_at(self, index: int) -> Array:
        """Return the position, (n_dims,), of the ``index``-th configuration of a finite space, 0 <= index < size."""
        position = np.full(self.n_dims, 0.5)
        self._place(self._root, index, position)
        return position

    def _place(self, node: _Node, index: int, position: Array) -> None:
        if node.kind == "leaf":
            leaf = self._leaves[node.value]
            position[leaf.units] = leaf.parameter.at(index)
        elif node.kind == "choice":
            leaf = self._leaves[node.value]
            if node.size == len(node.children):  # no choice has parameters
                position[leaf.units] = leaf.parameter.at(index)
                return
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
        """Return the space as JSON values. Values that JSON can't hold, such as functions, are represented by name."""
        tree: dict[str, Any] = to_json(self.tree)
        return tree

    @staticmethod
    def is_restorable(tree: Mapping[str, Any]) -> bool:
        """Return True if ``from_json`` can restore the space from ``tree``, a result of ``to_json``."""
        return not has_opaque(tree)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Space:
        """Return the space that ``to_json`` described.

        Raises:
            ValueError: If it has values that JSON can't hold, such as functions.
        """
        return cls(from_json(tree))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Space({self.tree!r})"


def _with_one_hot(tree: Any) -> Any:
    if isinstance(tree, Categorical):
        return Categorical([_with_one_hot(choice) for choice in tree.choices], one_hot=True)
    if isinstance(tree, Mapping):
        return {key: _with_one_hot(child) for key, child in tree.items()}
    return type(tree)(map(_with_one_hot, tree)) if type(tree) in (list, tuple) else tree


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
    """Turn ``{"a/b": 1}`` into ``{"a": {"b": 1}}``, except for keys that have a slash in the space itself."""
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
