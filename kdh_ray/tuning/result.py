"""Result of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kdh_ray.errors import UserError
from kdh_ray.tuning.trials import Trial, best_of, front_of, trial_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """All trials of a finished search.

    Attributes:
        trials: Trials in the order of suggestions.
        metric: Name of the result that was optimised.
        mode: ``max`` or ``min``.
        seconds: Wall time of the search, over all its sessions.
        exhausted: True if the searcher had no more configurations to suggest.
        further_objectives: Names of further results that were optimised, each with its mode.
    """

    trials: list[Trial]
    metric: str
    mode: str
    seconds: float
    exhausted: bool = False
    further_objectives: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Trial:
        """The feasible trial with the best last score; see :func:`kdh_ray.tuning.trials.best_of`.

        Raises:
            UserError: If the last score of no feasible trial is a finite number.
        """
        trial = best_of(self.trials, self.mode)
        if trial is None:
            errors = "; ".join(sorted({trial.error for trial in self.trials if trial.error}))[:300]
            raise UserError(
                f"none of {len(self.trials)} trials has a {self.metric} to compare:"
                f" {errors or 'none reported a number'}"
            )
        return trial

    @property
    def front(self) -> list[Trial]:
        """The trials that no other one beats in all objectives; see :func:`kdh_ray.tuning.trials.front_of`."""
        return front_of(self.trials, self.mode, self.further_objectives)

    def frame(self) -> pd.DataFrame:
        """Return one row per trial; see :func:`kdh_ray.tuning.trials.trial_columns`."""
        import pandas as pd

        return pd.DataFrame([trial_columns(trial) for trial in self.trials])
