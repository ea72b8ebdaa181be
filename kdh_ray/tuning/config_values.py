"""Values of configurations that JSON can't hold: tuples, keys that aren't strings, and objects of the search space.

Ray Tune (2.60) replaces each object of a search space, such as a function or a NumPy integer, with a placeholder before
a searcher sees it, and puts it back only into the configuration of the trial that runs. Placeholders are named after
their place in the space, so they mean the same in every session of a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdh_ray.errors import UserError

_PLACEHOLDER = "__ref_ph"  # ray.tune.impl.placeholder._RefResolver.TOKEN
_TUPLE, _DICT, _OBJECT = "$tuple", "$dict", "$object"
_SCALARS = (bool, int, float, str)
_Path = tuple[Any, ...]


@dataclass(frozen=True)
class SpaceObject:
    """An object of a search space, known by name only: its ledger was read without the space.

    Attributes:
        key: Name of its placeholder.
        name: How it is displayed.
    """

    key: str
    name: str

    def __repr__(self) -> str:
        return self.name


class ConfigValues:
    """Translates between configurations of a search, their placeholders, and JSON.

    Args:
        space: The search space, as it is passed to Ray Tune.
    """

    def __init__(self, space: Mapping[str, Any] | None = None) -> None:
        self._objects: dict[str, Any] = {}  # name of the placeholder -> object
        self._keys: dict[tuple[_Path, int], str] = {}  # place in a configuration and id of an object -> placeholder
        if space:
            self._collect(dict(space), (), ())

    def _collect(self, tree: Any, path: _Path, place: _Path) -> None:
        """Walk through a space as ``ray.tune.impl.placeholder.inject_placeholders`` does.

        Args:
            tree: A part of the space.
            path: Where it is in the space.
            place: Where it is in configurations, which have one choice of each domain.
        """
        from ray.tune.impl.placeholder import _id_hash
        from ray.tune.search.sample import Categorical, Domain

        if isinstance(tree, dict):
            for key, child in tree.items():
                self._collect(child, (*path, key), (*place, key))
        elif isinstance(tree, (list, tuple)):
            for index, child in enumerate(tree):
                self._collect(child, (*path, index), (*place, index))
        elif isinstance(tree, Categorical):
            for index, child in enumerate(tree.categories):
                self._collect(child, (*path, index), place)
        elif not (tree is None or isinstance(tree, (*_SCALARS, Domain))):
            key = _id_hash(path)
            self._objects[key] = tree
            self._keys[place, id(tree)] = key

    def resolve(self, config: Any) -> Any:
        """Return a configuration with objects in place of their placeholders."""
        if isinstance(config, dict):
            return {key: self.resolve(value) for key, value in config.items()}
        if isinstance(config, list):
            return [self.resolve(value) for value in config]
        if isinstance(config, tuple):
            key = _placeholder_key(config)
            return self._objects.get(key, config) if key else tuple(map(self.resolve, config))
        return config

    def with_placeholders(self, config: Any) -> Any:
        """Return a copy of a configuration with placeholders in place of objects, for Ray Tune to resolve.

        Raises:
            UserError: If it has an object that is not in the search space.
        """

        def placeholder(key: str, name: str) -> tuple[str, str]:
            if key not in self._objects:
                raise UserError(f"the search space has no {name} any more, with which a trial was interrupted")
            return _PLACEHOLDER, key

        return _decode(self.to_json(config), placeholder)

    def to_json(self, config: Any, place: _Path = ()) -> Any:
        """Return a configuration as JSON values.

        Args:
            config: The configuration, or a part of it.
            place: Where the part is.

        Raises:
            UserError: If it has an object that is not in the search space.
        """
        if isinstance(config, dict):
            items = {key: self.to_json(value, (*place, key)) for key, value in config.items()}
            if all(type(key) is str and not key.startswith("$") for key in config):
                return items
            return {_DICT: [[self.to_json(key), value] for key, value in items.items()]}
        if isinstance(config, list):
            return [self.to_json(value, (*place, index)) for index, value in enumerate(config)]
        if (place, id(config)) in self._keys:
            return {_OBJECT: self._keys[place, id(config)], "name": _name(config)}
        if isinstance(config, SpaceObject):
            return {_OBJECT: config.key, "name": config.name}
        if isinstance(config, tuple):
            key = _placeholder_key(config)
            parts = [self.to_json(value, (*place, index)) for index, value in enumerate(config)]
            return {_OBJECT: key, "name": key} if key else {_TUPLE: parts}
        if config is None or isinstance(config, _SCALARS):
            return config
        if hasattr(config, "tolist"):  # a NumPy scalar or array that the searcher made
            return config.tolist()
        raise UserError(
            f"a configuration has a value of type {type(config).__name__}, which a search's folder can't hold; give the"
            " choices in the search space"
        )

    def from_json(self, tree: Any) -> Any:
        """Return the configuration that ``to_json`` described."""
        return _decode(tree, lambda key, name: self._objects.get(key, SpaceObject(key, name)))


def _decode(tree: Any, make: Any) -> Any:
    if isinstance(tree, list):
        return [_decode(value, make) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if _OBJECT in tree:
        return make(tree[_OBJECT], tree["name"])
    if _TUPLE in tree:
        return tuple(_decode(value, make) for value in tree[_TUPLE])
    if _DICT in tree:
        return {_decode(key, make): _decode(value, make) for key, value in tree[_DICT]}
    return {key: _decode(value, make) for key, value in tree.items()}


def _placeholder_key(value: tuple[Any, ...]) -> str | None:
    """Return the name of a placeholder; None for any other tuple."""
    return value[1] if len(value) == 2 and value[0] == _PLACEHOLDER else None


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__qualname__
