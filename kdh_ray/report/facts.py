"""Facts of a report: what was run, when, where and with which versions, as far as the rows say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import UserError
from kdh_ray.report.winner import parameters
from kdh_ray.report.wording import plural
from kdh_ray.results.method_rows import NO_METHOD, REPLAY, STUDENT, TEACHER, method_names, sizes
from kdh_ray.results.search_trials import trial_rows

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("kdh_ray", "torch", "ray", "transformers")
_MOST_VALUES = 12
_COMMIT_LENGTH = 12
_OUTCOMES = {"ok": "finished"}  # words for a status; others are words already


def facts(frame: pd.DataFrame) -> dict[str, str]:
    """Return what the rows say about the runs, by heading; headings without a fact are left out.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.
    """
    rows = frame[~frame["kind"].isin(NO_METHOD)]
    versions = {name: _values(frame, f"version_{name}") for name in _PACKAGES}
    by_heading = {
        "Corpus": _corpora(rows),
        "Methods": _methods(rows),
        "Encoders": _pairs(rows),
        "Seeds": _values(rows, "seed"),
        "Results": _outcomes(rows),
        **_searches(frame),
        "Searchers replayed": _values(frame[frame["kind"] == REPLAY], "stage"),
        "When": _when(frame),
        "Devices": ", ".join(filter(None, (_values(frame, "device"), _values(frame, "precision")))),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "Commit": _values(frame, "commit", _COMMIT_LENGTH),
    }
    return {name: words for name, words in by_heading.items() if words}


def lede(frame: pd.DataFrame) -> str:
    """Return in one line what was run."""
    known = facts(frame)
    rows = frame[~frame["kind"].isin(NO_METHOD)]
    methods = " on ".join(filter(None, (known.get("Methods"), _values(rows, "pair"))))
    seeds = f"seeds {known['Seeds']}" if "Seeds" in known else ""
    search = known.get("Search", "").split(":")[0]
    return "; ".join(filter(None, (known.get("Corpus"), methods, seeds, search)))


def _outcomes(rows: pd.DataFrame) -> str:
    """Return the number of rows by status."""
    counts = {str(status): n for status, n in rows["status"].value_counts().items()}
    return ", ".join(f"{n} {_OUTCOMES.get(status, status)}" for status, n in counts.items())


def _methods(rows: pd.DataFrame) -> str:
    """Return the number of methods; one that ran on several pairs of encoders counts once."""
    n = method_names(rows.assign(pair=None)).nunique()
    return plural(n, "method") if n else ""


def _pairs(rows: pd.DataFrame) -> str:
    """Return the pairs of encoders, with the sizes of teacher and student."""
    words = []
    for pair, part in rows.groupby("pair", sort=False):
        counts = [parameters(part[part["kind"] == kind]) for kind in (TEACHER, STUDENT)]
        about = " → ".join(count.removesuffix(" M parameters") for count in counts)
        words.append(f"{pair} ({about} M parameters)" if all(counts) else str(pair))
    return ", ".join(words)


def _corpora(rows: pd.DataFrame) -> str:
    """Return the protocols, each with its sizes of the training split."""
    by_protocol = [(str(protocol), sizes(part)) for protocol, part in rows.groupby("protocol")]
    return "; ".join(f"{name} ({', '.join(own)})" if own else name for name, own in by_protocol if name)


def _values(frame: pd.DataFrame, column: str, length: int = 60) -> str:
    """Return the values of a column, each cut to ``length`` characters; seeds 0, 1, 2 as ``0 to 2``."""
    if column not in frame:  # a package that no row names
        return ""
    values: list[Any] = sorted(frame[column].dropna().unique().tolist())
    # A column in which some rows have no seed holds floats.
    whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    shown = list(dict.fromkeys(str(value)[:length] for value in whole))
    if len(whole) > 2 and whole == list(range(len(whole))):
        return f"0 to {len(whole) - 1}"
    more = len(shown) - _MOST_VALUES
    return ", ".join(shown[:_MOST_VALUES]) + (f" and {more} more" if more > 0 else "")


def _when(frame: pd.DataFrame) -> str:
    """Return the first and the last day on which a stage started."""
    days = frame["started"].dropna().astype(str).str[:10]
    if days.empty:
        return ""
    return days.min() if days.min() == days.max() else f"{days.min()} to {days.max()}"


def _searches(frame: pd.DataFrame) -> dict[str, str]:
    """Return the number of trials by searcher and outcome, and what early stopping saved."""
    try:
        rows = trial_rows(frame)
    except UserError:
        return {}
    counts = rows["status"].value_counts()
    outcomes = {"ok": "to the end", "stopped": "stopped early", "failed": "failed"}
    states = ", ".join(f"{counts.get(status, 0)} {words}" for status, words in outcomes.items())
    by_heading = {"Search": f"{len(rows)} trials by {_values(rows, 'searcher')}: {states}"}
    whole = rows["epochs_full"].sum() or rows["config_epochs"].sum()  # epochs of all trials, had none been stopped
    if rows["epochs_run"].notna().any() and whole:
        ran = rows["epochs_run"].sum()
        by_heading["Early stopping"] = (
            f"trials ran {ran:.0f} of the {whole:.0f} epochs that they would have run without it"
        )
    return by_heading
