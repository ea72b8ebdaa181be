"""Parameters of a search space, and their coordinates in the unit cube.

A parameter has ``width`` coordinates. Numbers and ordered choices have one: each of ``n`` values has a cell of [0, 1],
so that each is as likely as its share of the range, the bounds included. A categorical has one coordinate per choice;
its value is the choice with the largest coordinate. (An integer code would impose an order on the choices.) One with
very many choices has such coordinates for each digit of the choice's index instead, or a suggestion would take seconds.
Decoding is deterministic, so a particle that returns to a position returns to its configuration.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from searchers.choices import distinct, listed, same, same_in_json

Array = NDArray[np.float64]

# With more values, the middle of a cell on a log scale no longer identifies its value in double precision.
MAX_VALUES = 2**40

MAX_ONE_HOT = 128
"""Number of choices up to which each has a coordinate of its own."""

MAX_BASE = 32
"""Largest base of the digits of a choice's index, with more choices."""


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the plain Python value, which JSON can hold; other values as they are."""
    return value.item() if isinstance(value, np.generic) else value


class Parameter(Protocol):
    """A parameter of a search space. ``units`` are its coordinates in [0, 1]."""

    @property
    def width(self) -> int:
        """Number of coordinates."""

    @property
    def size(self) -> float:
        """Number of values; infinite for a continuous parameter."""

    def decode(self, units: Array) -> Any:
        """Return the value at ``units``, (width,)."""

    def encode(self, value: Any) -> Array:
        """Return the coordinates of a value, (width,); raise ValueError if it is outside the parameter."""

    def from_uniform(self, uniform: float) -> Array:
        """Return the coordinates, (width,), of the quantile ``uniform`` in [0, 1) of the values."""

    def snap(self, units: Array) -> Array:
        """Return coordinates, (n, width), that are equal where ``units``, (n, width), decode to equal values."""

    def at(self, index: int) -> Array:
        """Return the coordinates, (width,), of the ``index``-th value of a parameter of finite size."""


class _Numeric:
    """One coordinate over [lower, upper], linear or logarithmic, continuous or on the grid ``lower + k * step``."""

    lower: float
    upper: float
    log: bool
    step: float | None
    width = 1

    def _check(self) -> None:
        name = type(self).__name__
        for field in ("lower", "upper", "log", "step"):
            object.__setattr__(self, field, plain(getattr(self, field)))
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= self.upper):
            raise ValueError(f"{name} needs finite bounds with lower <= upper; got {self.lower} and {self.upper}")
        if not math.isfinite(self.upper - self.lower):
            raise ValueError(f"{name} needs a finite range; got {self.lower} to {self.upper}")
        if self.log and self.lower <= 0:
            raise ValueError(f"{name} with log=True needs lower > 0; got {self.lower}")
        if self.step is None:
            return
        if not (math.isfinite(self.step) and self.step > 0):
            raise ValueError(f"{name} needs a step > 0; got {self.step}")
        if self.size > MAX_VALUES:
            raise ValueError(f"{name} can have at most 2**40 values; got {self.size:.0f}")

    @property
    def size(self) -> float:
        if self.step is None:
            return math.inf if self.upper > self.lower else 1.0
        if isinstance(self, Integer):  # exact: the rounding slack below would be a whole step of a wide range
            return (self.upper - self.lower) // self.step + 1
        return math.floor((self.upper - self.lower) / self.step * (1 + 1e-12) + 1e-9) + 1

    def _index(self, unit: float) -> int:
        step, count = self.step or 1, int(self.size)
        if self.log:
            # Value k has the cell from log k to log (k + step), so that the last one has a cell too.
            end = math.log(self.lower + count * step)
            value = math.exp(math.log(self.lower) + unit * (end - math.log(self.lower)))
            return min(max(int((value - self.lower) / step), 0), count - 1)
        return min(int(unit * count), count - 1)

    def _centre(self, index: int) -> float:
        step, count = self.step or 1, int(self.size)
        if self.log:
            start, value = math.log(self.lower), self.lower + index * step
            middle = 0.5 * (math.log(value) + math.log(value + step))
            return (middle - start) / (math.log(self.lower + count * step) - start)
        return (index + 0.5) / count

    def snap(self, units: Array) -> Array:
        if self.step is None:
            return units if self.upper > self.lower else np.full_like(units, 0.5)
        step, count = self.step, int(self.size)
        if not self.log:
            snapped: Array = (np.minimum(np.floor(units * count), count - 1) + 0.5) / count
            return snapped
        start = math.log(self.lower)
        span = math.log(self.lower + count * step) - start
        index = np.clip(np.floor((np.exp(start + units * span) - self.lower) / step), 0, count - 1)
        value = self.lower + index * step
        middle: Array = (0.5 * (np.log(value) + np.log(value + step)) - start) / span
        return middle

    def from_uniform(self, uniform: float) -> Array:
        return np.array([uniform])

    def at(self, index: int) -> Array:
        return np.array([self._centre(index)])

    def _reject(self, value: object) -> ValueError:
        grid = f" in steps of {self.step}" if self.step is not None else ""
        return ValueError(f"{type(self).__name__} takes values from {self.lower} to {self.upper}{grid}; got {value!r}")

    def _grid_unit(self, value: float) -> Array:
        index = round((value - self.lower) / (self.step or 1))
        near = self.lower + index * (self.step or 1)
        if not 0 <= index < self.size or abs(value - near) > 1e-9 * (self.step or 1) + 1e-14 * abs(value):
            raise self._reject(value)
        return self.at(index)


@dataclass(frozen=True)
class Float(_Numeric):
    """A real number in [lower, upper].

    Values have 12 significant digits of the range, so that a value that is encoded and decoded stays the same.

    Args:
        lower: Smallest value.
        upper: Largest value, included.
        log: Search on a logarithmic scale; needs ``lower > 0``.
        step: Take only ``lower, lower + step, ...``.

    Raises:
        ValueError: If the bounds or the step break these rules.
    """

    lower: float
    upper: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        self._check()

    def decode(self, units: Array) -> float:
        """Return the number at ``units``, (1,)."""
        unit = float(units[0])
        if self.step is not None:
            # Round to 15 digits of the larger bound; digits of the value itself would leave rounding errors near 0.
            digits = 15 - math.ceil(math.log10(max(abs(self.lower), abs(self.upper), self.step)))
            value = round(self.lower + self._index(unit) * self.step, digits) + 0.0  # no -0.0
        elif unit <= 0 or unit >= 1:
            value = self.lower if unit <= 0 else self.upper
        elif self.log:
            start = math.log(self.lower)
            value = float(f"{math.exp(start + unit * (math.log(self.upper) - start)):.12g}")
        elif self.upper == self.lower:
            value = self.lower
        else:
            digits = 12 - math.ceil(math.log10(self.upper - self.lower))
            value = round(self.lower + unit * (self.upper - self.lower), digits)
        return float(min(max(value, self.lower), self.upper))

    def encode(self, value: Any) -> Array:
        """Return the coordinate of a number, (1,); raise ValueError if it is out of bounds or off the grid."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise self._reject(value)
        number = float(value)
        if self.step is not None and math.isfinite(number):
            return self._grid_unit(number)
        if not self.lower <= number <= self.upper:
            raise self._reject(value)
        if self.upper == self.lower:
            return np.array([0.5])
        if self.log:
            start = math.log(self.lower)
            return np.array([(math.log(number) - start) / (math.log(self.upper) - start)])
        return np.array([(number - self.lower) / (self.upper - self.lower)])


@dataclass(frozen=True)
class Integer(_Numeric):
    """An integer in [lower, upper], both included.

    Args:
        lower: Smallest value.
        upper: Largest value, included if ``step`` reaches it.
        log: Search on a logarithmic scale: value ``k`` has the share ``log((k + step) / k)`` of the range.
        step: Take only ``lower, lower + step, ...``.

    Raises:
        ValueError: If a bound or the step is not an integer, or the bounds or the step break these rules.
    """

    lower: int
    upper: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for value in (self.lower, self.upper, self.step):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise ValueError(f"Integer needs whole numbers for its bounds and step; got {value!r}")
        self._check()

    def decode(self, units: Array) -> int:
        """Return the integer at ``units``, (1,)."""
        return int(self.lower + self._index(float(units[0])) * self.step)

    def encode(self, value: Any) -> Array:
        """Return the coordinate of an integer, (1,); raise ValueError if it is out of bounds or off the grid."""
        whole = isinstance(value, (int, np.integer)) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not self.lower <= value <= self.upper:
            raise self._reject(value)
        return self._grid_unit(int(value))


class _Choices:
    """A finite number of values, identified by their index in ``choices``."""

    choices: Sequence[Any]

    def _check(self) -> None:
        if isinstance(self.choices, (str, bytes, Mapping)) or not isinstance(self.choices, Sequence):
            raise ValueError(f"{type(self).__name__} takes a list of choices; got {self.choices!r}")
        if not self.choices:
            raise ValueError(f"{type(self).__name__} needs at least one choice; got none")
        object.__setattr__(self, "choices", distinct(map(plain, self.choices)))

    @property
    def size(self) -> float:
        return len(self.choices)

    def index_of(self, value: Any) -> int:
        """Return the index of a choice.

        Raises:
            ValueError: If ``value`` is not a choice.
        """
        value = plain(value)
        for index, choice in enumerate(self.choices):
            if same(choice, value):
                return index
        for index, choice in enumerate(self.choices):  # JSON turns tuples into lists, and some readers 1 into 1.0
            if not isinstance(value, bool) and not isinstance(choice, bool) and same_in_json(choice, value):
                return index
        raise ValueError(f"{type(self).__name__} takes {listed(self.choices)}; got {value!r}")


@dataclass(frozen=True)
class Ordinal(_Choices):
    """One of several ordered values, such as batch sizes. Neighbours in the list are neighbours in the search.

    Args:
        choices: The values, in order. Repeated ones count once.

    Raises:
        ValueError: If ``choices`` is not a list or is empty.
    """

    choices: Sequence[Any]
    width = 1

    def __post_init__(self) -> None:
        self._check()

    def decode(self, units: Array) -> Any:
        """Return the choice at ``units``, (1,)."""
        return self.choices[min(int(float(units[0]) * len(self.choices)), len(self.choices) - 1)]

    def encode(self, value: Any) -> Array:
        """Return the middle of the cell of a choice, (1,); raise ValueError for any other value."""
        return self.at(self.index_of(value))

    def from_uniform(self, uniform: float) -> Array:
        """Return the coordinate, (1,), of the quantile ``uniform`` in [0, 1) of the choices."""
        return np.array([uniform])

    def snap(self, units: Array) -> Array:
        """Return ``units``, (n, 1), each moved to the middle of the cell of its choice."""
        count = len(self.choices)
        snapped: Array = (np.minimum(np.floor(units * count), count - 1) + 0.5) / count
        return snapped

    def at(self, index: int) -> Array:
        """Return the middle of the cell of the ``index``-th choice, (1,)."""
        return np.array([(index + 0.5) / len(self.choices)])


@dataclass(frozen=True)
class Categorical(_Choices):
    """One of several unordered values.

    Args:
        choices: The values. A choice may contain parameters, which then exist only while that choice is taken.
            Repeated choices count once.
        one_hot: Give each choice a coordinate of its own however many there are, as earlier versions did.

    Raises:
        ValueError: If ``choices`` is not a list or is empty.
    """

    choices: Sequence[Any]
    one_hot: bool = False

    def __post_init__(self) -> None:
        self._check()

    @cached_property
    def _digits(self) -> tuple[int, int]:
        """Number of digits of an index, and their base; one digit with few choices."""
        count = len(self.choices)
        if self.one_hot or count <= MAX_ONE_HOT:
            return 1, count
        digits = next(digits for digits in itertools.count(2) if MAX_BASE**digits >= count)
        return digits, next(base for base in itertools.count(2) if base**digits >= count)

    @property
    def width(self) -> int:
        """Number of coordinates: one per choice, or per value of each digit."""
        return math.prod(self._digits)

    def indices(self, units: Array) -> NDArray[np.intp]:
        """Return the indices, (n,), of the choices at coordinates, (n, width)."""
        digits, base = self._digits
        values = np.argmax(units.reshape(len(units), digits, base), axis=2)  # (n, digits)
        indices: NDArray[np.intp] = values @ (base ** np.arange(digits)) % len(self.choices)
        return indices

    def _one_hot(self, indices: NDArray[np.intp]) -> Array:
        """Return the coordinates, (n, width), of the choices with ``indices``, (n,)."""
        digits, base = self._digits
        values = indices[:, None] // base ** np.arange(digits) % base  # (n, digits)
        rows: Array = np.eye(base)[values].reshape(len(indices), self.width)
        return rows

    def decode(self, units: Array) -> Any:
        """Return the choice at ``units``, (width,)."""
        return self.choices[int(self.indices(units[None, :])[0])]

    def encode(self, value: Any) -> Array:
        """Return the coordinates of a choice, (width,); raise ValueError for any other value."""
        return self.at(self.index_of(value))

    def from_uniform(self, uniform: float) -> Array:
        """Return the coordinates, (width,), of the quantile ``uniform`` in [0, 1) of the choices."""
        return self.at(min(int(uniform * len(self.choices)), len(self.choices) - 1))

    def snap(self, units: Array) -> Array:
        """Return ``units``, (n, width), with 1 at the largest coordinate of each digit and 0 elsewhere."""
        return self._one_hot(self.indices(units))

    def at(self, index: int) -> Array:
        """Return the coordinates, (width,), of the ``index``-th choice."""
        row: Array = self._one_hot(np.array([index]))[0]
        return row


PARAMETERS = (Float, Integer, Ordinal, Categorical)
