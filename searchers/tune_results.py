"""Reading of what Ray Tune knows of trials: their results, and whole experiments of the past."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune import ResultGrid
from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from searchers.space import Space


def number(value: Any) -> float | None:
    """Return a real number as a float; None for anything else.

    Any scalar is a number: Python's, NumPy's, a tensor without dimensions, NaN and infinities. None, text, lists and
    arrays, also those of one element, are not.

    >>> number(3), number("3"), number([3])
    (3.0, None, None)
    """
    if value is None or isinstance(value, (str, bytes, bytearray)) or getattr(value, "ndim", None):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: Any) -> float | None:
    """Return a value as a finite float; None for anything else."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def check_objectives(metric: Any, mode: Any, further: Mapping[str, str] | None = None) -> None:
    """Check the result that a search optimises, and further ones with their modes.

    Raises:
        ValueError: If there is more than one metric, or a mode is neither ``min`` nor ``max``.
    """
    if isinstance(metric, (list, tuple)) or mode not in (None, "min", "max"):
        raise ValueError(
            f"a searcher needs one metric, and mode 'min' or 'max'; got {metric!r} and {mode!r}"
            " (further_objectives takes more)"
        )
    for name, each in (further or {}).items():
        if each not in ("min", "max") or name == metric:
            raise ValueError(
                f"a further objective has mode 'min' or 'max' and is not the metric; got {name!r}: {each!r}"
            )


def minimised(results: Sequence[Any], modes: Sequence[str | None]) -> list[float] | None:
    """Return results as numbers to minimise, each in its mode; None if one of them is no finite number."""
    found = [finite(result) for result in results]
    signed = [-each if mode == "max" else each for each, mode in zip(found, modes, strict=True) if each is not None]
    return signed if len(signed) == len(found) else None


def kind_of(value: Any) -> str:
    """Return in words what a value is, without its content, which may be anything."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with nested entries under names such as ``eval/loss`` too, as Ray Tune names metrics."""
    return {**flatten_dict(dict(result)), **result}


@dataclass(frozen=True)
class EarlierRun:
    """An ended trial of an earlier experiment.

    Attributes:
        config: Its configuration, nested or flat.
        blank: Parameters without a value in a data frame: they don't exist in the configuration, or are None.
        result: Its last result, flat.
        failed: True if it ended with an error.
    """

    config: Mapping[str, Any]
    result: Mapping[str, Any]
    failed: bool
    blank: tuple[str, ...] = ()

    def config_in(self, space: Space) -> Mapping[str, Any]:
        """Return the configuration with None for blank parameters, if ``space`` needs them."""
        try:
            space.encode(self.config, strict=False)
        except ValueError:
            return {**self.config, **dict.fromkeys(self.blank)}
        return self.config


def earlier_runs(source: Any) -> Iterator[EarlierRun]:
    """Yield the ended trials of an earlier experiment.

    Args:
        source: One trial or several, an object with ``trials`` such as an ``ExperimentAnalysis``, a ``ResultGrid``, or
            the data frame of one.

    Raises:
        ValueError: If ``source`` is none of these.
    """
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        yield from map(_row_run, source.to_dict("records"))
        return
    source = source if isinstance(source, ResultGrid) else getattr(source, "trials", source)
    for trial in source if isinstance(source, (list, tuple, ResultGrid)) else [source]:
        if hasattr(trial, "metrics") and hasattr(trial, "error"):  # a Result of a ResultGrid
            yield EarlierRun(trial.config or {}, flat(trial.metrics or {}), trial.error is not None)
        elif not hasattr(trial, "last_result"):
            raise ValueError(
                "a searcher learns from Ray Tune's trials, an ExperimentAnalysis, a ResultGrid or its data frame;"
                f" got {type(trial).__name__}"
            )
        elif trial.status in (Trial.TERMINATED, Trial.ERROR):
            yield EarlierRun(trial.config, flat(trial.last_result), trial.status == Trial.ERROR)


def _row_run(row: Mapping[str, Any]) -> EarlierRun:
    """Return the trial of a row, which has its configuration in columns ``config/NAME``."""
    config = {name.removeprefix("config/"): value for name, value in row.items() if name.startswith("config/")}
    blank = tuple(name for name, value in config.items() if isinstance(value, float) and math.isnan(value))
    return EarlierRun({name: config[name] for name in config if name not in blank}, row, failed=False, blank=blank)
