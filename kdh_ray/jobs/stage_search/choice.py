"""The choice that a search ends with: the best trial, or the stage's own settings unless they are clearly beaten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data import Corpus
from kdh_ray.evaluation.objectives import Objective, objective_named
from kdh_ray.evaluation.selection import CorrectedGain, ResampledScores
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.fold_scores import ValidationFolds
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.predictions import read_predictions
from kdh_ray.jobs.stage_search.space import has_own_settings
from kdh_ray.jobs.stage_search.trial_ensemble import TrialEnsemble
from kdh_ray.tuning import SearchResult
from kdh_ray.tuning.trials import Trial


@dataclass(frozen=True)
class Choice:
    """The configuration that a search chose.

    Attributes:
        trial: Its trial.
        sentence: Which configuration it is, by how much it is better than the stage's own settings, and how sure that
            is.
        columns: The same as columns of the row of the best student.
        ensemble: Trials that teach the student, with ``tune.final: distilled``.
    """

    trial: Trial
    sentence: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    ensemble: TrialEnsemble | None = None

    def save(self, file: Path) -> None:
        """Write sentence and columns, for rows that a later call writes."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}")
        temporary.write_text(json.dumps(self.all_columns, indent=1) + "\n", encoding="utf-8")
        temporary.replace(file)

    @property
    def all_columns(self) -> dict[str, Any]:
        """Columns of the row of the best student, the sentence among them."""
        return {"search_choice": self.sentence, **self.columns}


def saved_columns(file: Path) -> dict[str, Any]:
    """Return the columns that :meth:`Choice.save` wrote; none of a search from before there were any."""
    try:
        columns: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return columns


def choose(plan: SearchPlan, corpus: Corpus, found: SearchResult) -> Choice:
    """Choose among the trials of a search, and say how sure the choice is.

    The best trial wins. With ``tune.keep_default`` the stage's own settings do, unless the best is clearly better: the
    95 % interval of its gain, corrected for choosing among so many, lies above 0. Of several objectives the first one
    decides, or ``tune.prefer`` within ``tune.tolerance``.

    Raises:
        UserError: If no trial has a score.
    """
    judged = _judged(plan, corpus, found)
    preferred = _preferred(plan, found)
    choice = _best_or_own(plan, judged, found) if preferred is found.best else _preference(plan, found, preferred)
    if judged is not None:
        curve = (plan.objective.sign * np.array(judged.scores.overtuning())).tolist()
        choice = replace(choice, columns={**choice.columns, "search_overtuning": curve})
    if plan.config.tune.final == "distilled":
        choice = _with_ensemble(plan, judged, choice)
    if len(plan.objectives) == 1:
        return choice
    front = found.front
    shown = "; ".join(f"trial {trial.number} ({_all_scored(plan, trial)})" for trial in front)
    titles = ", ".join(each.title for each in plan.objectives)
    columns = {**choice.columns, "search_front": [trial.number for trial in front]}
    return replace(choice, sentence=f"{choice.sentence} On the front of {titles}: {shown}.", columns=columns)


def _with_ensemble(plan: SearchPlan, judged: _Judged | None, choice: Choice) -> Choice:
    """Add the trials that teach the final student, and say which they are or why there are none."""
    if judged is None:
        reason = "the validation predictions of some trials are missing"
        return replace(choice, sentence=f"{choice.sentence} No trials teach the student: {reason}.")
    ensemble = TrialEnsemble.select(judged.trials, judged.logits, judged.targets, plan.objective)
    if ensemble is None:
        return replace(choice, sentence=f"{choice.sentence} No trials teach the student: no mean beats the best one.")
    *others, last = map(str, ensemble.numbers)
    sentence = (
        f"{choice.sentence} Trials {', '.join(others)} and {last}, whose mean reaches validation"
        f" {plan.objective.title} {plan.objective.text(ensemble.score)}, teach the student along with its teachers."
    )
    columns = {**choice.columns, "search_ensemble": ensemble.numbers, "search_ensemble_score": ensemble.score}
    return replace(choice, sentence=sentence, columns=columns, ensemble=ensemble)


def _preferred(plan: SearchPlan, found: SearchResult) -> Trial:
    """Return the trial to train: the best in the first objective, or in the preferred one within the tolerance."""
    best, tune = found.best, plan.config.tune
    if tune.prefer in (None, tune.objectives[0]):
        return best
    preferred = objective_named(str(tune.prefer))
    lost = {trial.number: plan.objective.sign * (_score(best) - _score(trial)) for trial in found.front}
    near = [trial for trial in found.front if lost[trial.number] <= tune.tolerance]
    return max(near, key=lambda trial: preferred.sign * trial.values[preferred.column], default=best)


def _preference(plan: SearchPlan, found: SearchResult, trial: Trial) -> Choice:
    """Return the choice of a trial for another objective than the first."""
    tune, best = plan.config.tune, found.best
    title = objective_named(str(tune.prefer)).title
    sentence = (
        f"Chosen: trial {trial.number} ({_all_scored(plan, trial)}), the best in {title} of the trials on the front"
        f" that give up at most {plan.objective.difference(tune.tolerance).lstrip('+')} of {plan.objective.title};"
        f" the best in that is trial {best.number} ({_all_scored(plan, best)})."
    )
    return Choice(trial, sentence)


def _best_or_own(plan: SearchPlan, judged: _Judged | None, found: SearchResult) -> Choice:
    """Choose between the best trial in the first objective and the stage's own settings."""
    best, objective = found.best, plan.objective
    own = next((trial for trial in found.trials if has_own_settings(plan.config, trial.config)), None)
    if own is best:
        of_own = (
            f"Chosen: the stage's own settings, {_scored(objective, best)}, the best of {len(found.trials)} trials."
        )
        return Choice(best, of_own)
    obstacle, gain = _obstacle(own), None
    if own is not None and not obstacle:
        gain = None if judged is None else judged.gain_over(own)
        obstacle = "" if gain else "the validation predictions of some trials are missing"
    keep = plan.config.tune.keep_default and not (gain and gain.clear) and own is not None and _can_be_kept(own)
    chosen = own if keep and own is not None else best
    sentences = [_comparison(objective, best, own, chosen, len(found.trials)), _judgement(objective, gain, obstacle)]
    columns: dict[str, Any] = {"search_kept_default": keep}
    if gain is not None and own is not None:
        columns |= {"search_gain": objective.sign * (_score(best) - _score(own))}
        columns |= {"search_gain_corrected": gain.gain, "search_gain_low": gain.low, "search_gain_high": gain.high}
    return Choice(chosen, " ".join(sentences), columns)


def _obstacle(own: Trial | None) -> str:
    """Return why the stage's own settings can't be compared with a trial; empty if they can."""
    if own is None:
        return "the stage's own settings are not among the trials"
    if not own.feasible:
        return "the stage's own settings exceed the search's budget"
    if own.status != "ok" or own.score is None:
        return f"the trial of the stage's own settings was not finished ({own.status} after {own.time:g} epochs)"
    return ""


def _can_be_kept(own: Trial) -> bool:
    return own.feasible and own.status != "failed"


@dataclass(frozen=True)
class _Judged:
    """The finished trials of a search, and what they say of the documents that judge them.

    Attributes:
        trials: The trials.
        logits: Of each, (n_documents, n_labels).
        targets: (n_documents, n_labels) of 0 and 1.
        scores: Their scores on resamples of the documents.
    """

    trials: list[Trial]
    logits: list[NDArray[np.float32]]
    targets: NDArray[np.int8]
    scores: ResampledScores

    def gain_over(self, reference: Trial) -> CorrectedGain:
        """Return the gain of choosing the best trial over taking this one."""
        return self.scores.gain([trial.number for trial in self.trials].index(reference.number))


def _judged(plan: SearchPlan, corpus: Corpus, found: SearchResult) -> _Judged | None:
    """Score the finished trials on resamples; None if there are none, or predictions of one are missing."""
    finished = [trial for trial in found.trials if trial.feasible and trial.status == "ok" and trial.score is not None]
    targets = np.asarray(ValidationFolds.of(corpus).targets, np.int8)
    files = [plan.folder.search.predictions(trial.number) for trial in finished]
    logits = [each for file in files if (each := read_predictions(file, targets.shape)) is not None]
    if not files or len(logits) < len(files):
        return None
    probabilities = [logistic(each) for each in logits]
    scores = ResampledScores.of(targets, probabilities, plan.objective, plan.config.seed)
    return _Judged(finished, logits, targets, scores)


def _comparison(objective: Objective, best: Trial, own: Trial | None, chosen: Trial, trials: int) -> str:
    """Return which trial was chosen over which, with their scores as the trials reported them."""
    winner = f"trial {best.number}, {_scored(objective, best)}, the best of {trials} trials"
    if own is None or _obstacle(own):
        return f"Kept: the stage's own settings; not {winner}." if chosen is own else f"Chosen: {winner}."
    default = f"the stage's own settings, {_scored(objective, own)}"
    return f"Kept: {default}; not {winner}." if chosen is own else f"Chosen: {winner}; not {default}."


def _judgement(objective: Objective, gain: CorrectedGain | None, obstacle: str) -> str:
    """Return the corrected gain with its interval, and what it shows; or why it is unknown."""
    if gain is None:
        return f"The gain over the stage's own settings is unknown: {obstacle}."
    verdict = "clearly better" if gain.clear else "clearly worse" if gain.high < 0 else "it may be no better"
    mean, low, high = (objective.difference(each) for each in (gain.gain, gain.low, gain.high))
    return (
        f"Corrected for choosing the best of {gain.candidates} finished trials, the gain is {mean} (95 % interval {low}"
        f" to {high}, bootstrap over {gain.documents} validation documents; above 0 in {100 * gain.share:.0f} % of the"
        f" resamples): {verdict}."
    )


def _scored(objective: Objective, trial: Trial) -> str:
    return f"validation {objective.title} {objective.text(_score(trial))}"


def _all_scored(plan: SearchPlan, trial: Trial) -> str:
    """Return a trial's values of all objectives, with their units."""
    values = [_score(trial), *(trial.values[each.column] for each in plan.objectives[1:])]
    return ", ".join(each.with_unit(value) for each, value in zip(plan.objectives, values, strict=True))


def _score(trial: Trial) -> float:
    return float(trial.score or 0.0)
