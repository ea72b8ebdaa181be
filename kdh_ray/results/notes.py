"""Notes of tables: which runs don't count, what a mean is made of, and what not to conclude from the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.results.columns import setting_name
from kdh_ray.results.method_rows import (
    BASELINE,
    GROUP,
    MEMBER,
    NO_METHOD,
    REPEATED,
    SETTINGS,
    STUDENT,
    TEACHER,
    is_counted,
    is_repeated,
    method_names,
    official_scores,
    seed_name,
)

if TYPE_CHECKING:
    import pandas as pd

CORPORA_WITH_PARTS = ("synthetic", "hoc-blurb", "hoc-blue")
_MOST_SETTINGS = 4  # named in a note
_NUMBER = r"-\d+$"  # of a member, at the end of its stage's name
_OF_THE_MACHINE = ("config_job.", "config_cache", "config_results")
# Settings that go with the seed in a study, or name files, which may lie elsewhere and be the same.
_NO_OTHER_METHOD = (
    *_OF_THE_MACHINE,
    *("config_data.sample_seed", "config_data.path", "config_data.unlabelled", "config_start", "config_teachers"),
    "config_unlabelled_teachers",
)
_CIRCUMSTANCES = {
    "data_fingerprint": "data",
    "version_kdh_ray": "version of kdh-ray",
    "commit": "code",
    "device": "device",
    "precision": "precision",
}  # column -> its name in a note


def repetitions(frame: pd.DataFrame) -> list[str]:
    """Return a sentence per method that was repeated: neither a mean nor its n counts the replaced runs.

    The sentence names the settings and circumstances in which the replaced runs differ from those that count.
    """
    frame = frame[is_counted(frame)].reset_index(drop=True)
    replaced = is_repeated(frame)
    if not replaced.any():
        return []
    rows = frame.assign(name=method_names(frame), shown=frame["size"].fillna(""), on=frame["protocol"].fillna(""))
    notes = []
    for (protocol, size, method), same in rows.groupby(["on", "shown", "name"], sort=False):
        group = same[replaced[same.index]]
        if group.empty:
            continue
        seeds = ", ".join(str(seed_name(seed)) for seed in sorted(group["seed"].unique()))
        where = (f" on {protocol}" if rows["on"].nunique() > 1 else "") + (f" at size {size}" if size else "")
        differing = _differences(same, list(REPEATED), _OF_THE_MACHINE, _CIRCUMSTANCES)
        notes.append(
            f"{method}{where} was run again with seed {seeds}: the last run counts, not the {len(group)} before"
            + (f", which differ in {differing}" if differing else "")
        )
    return notes


def mixture_notes(frame: pd.DataFrame) -> list[str]:
    """Return a sentence per method whose mean is over runs of different settings, other than those of a study."""
    rows = frame[is_counted(frame) & ~is_repeated(frame) & frame["method"].isna() & frame["search_choice"].isna()]
    notes = []
    for _, own in rows.groupby(list(GROUP), sort=False, dropna=False):
        differing = _differences(own, list(GROUP), _NO_OTHER_METHOD, {})
        if differing:
            notes.append(f"the mean of {method_names(own).iloc[0]} is over runs that differ in {differing}")
    return list(dict.fromkeys(notes))


def _differences(rows: pd.DataFrame, keys: list[str], without: tuple[str, ...], circumstances: dict[str, str]) -> str:
    """Return in words in which settings and circumstances rows with the same ``keys`` differ; empty if in none."""
    settings = [name for name in map(str, rows) if name.startswith("config_") and not name.startswith(without)]
    names = {name: setting_name(name) for name in settings} | circumstances
    present = rows[[name for name in names if name in rows]].astype(str)
    found = present.groupby([rows[key] for key in keys], dropna=False).nunique().max() > 1
    said = [names[name] for name in map(str, present) if found.loc[name]]
    if "version of kdh-ray" in said and "code" in said:
        said.remove("code")  # each version has a commit of its own
    more = len(said) - _MOST_SETTINGS
    return ", ".join(said) if more <= 1 else f"{', '.join(said[:_MOST_SETTINGS])} and {more} other settings"


def member_notes(frame: pd.DataFrame) -> list[str]:
    """Return a sentence per stage that stands for several models, with the range of their own scores in %."""
    import pandas as pd

    members = frame[(frame["kind"] == MEMBER) & (frame["status"] == "ok")]
    members = members[~members["stage"].str.replace(_NUMBER, "", regex=True).isin(members["stage"])]  # parts of members
    stages = members["stage"].str.replace(_NUMBER, "", regex=True)
    whole = frame[~frame["kind"].isin(NO_METHOD)].drop_duplicates(["run_id", "stage"], keep="last")
    # The variant is that of the mean: the members have another one.
    variants: dict[Any, Any] = whole.set_index(["run_id", "stage"])["variant"].to_dict()
    members = members.assign(
        stage=stages,
        variant=pd.Series(
            [variants.get(key) for key in zip(members["run_id"], stages, strict=True)], members.index, dtype=object
        ),
        size=members["size"].fillna(""),
        score=100 * official_scores(members),
    )
    notes = []
    for (stage, protocol, size, experiment, variant), own in members.groupby(
        ["stage", "protocol", "size", "experiment", "variant"], dropna=False
    ):
        rivals = whole[whole["stage"] == stage]  # whose lines the note might be taken for
        about = {"variant": variant, "experiment": experiment, "protocol": protocol}
        which = [str(value) for name, value in about.items() if rivals[name].nunique(dropna=False) > 1]
        name = f"{stage} ({', '.join(which)})" if which else stage
        where = f" at size {size}" if members["size"].nunique() > 1 else ""
        lowest, highest = own["score"].min(), own["score"].max()
        refit = rivals[rivals["run_id"].isin(own["run_id"])]["refit_epochs"].notna().any()
        what = "trained on all folds; its fold models" if refit else "the mean of models that"
        notes.append(f"{name}{where} is {what} reach {lowest:.1f} to {highest:.1f} each")
    return notes


def reading_notes(frame: pd.DataFrame) -> list[str]:
    """Return a sentence if some encoders were scored on raw text and others on parts that their corpus marks."""
    encoders = frame[frame["kind"].isin((STUDENT, TEACHER)) & frame["test_f1_micro"].notna()]
    has_parts = encoders["protocol"].isin(CORPORA_WITH_PARTS)
    if not (has_parts & encoders["read_as"].isna()).any() or not encoders["read_as"].notna().any():
        return []
    return ["scores of older runs are on the parts that the corpus marks, newer ones on raw text: they don't compare"]


def baseline_notes(table: pd.DataFrame) -> list[str]:
    """Return a sentence per protocol and size whose best baseline scores higher than the best student.

    Args:
        table: A line per method, with :data:`SETTINGS`, ``kind``, ``official`` (a fraction) and ``best``.
    """
    notes = []
    scores = table["official"].round(3)  # a tenth of a point, as it is shown
    names: dict[Any, str] = table["stage"].to_dict()
    for (protocol, size), own in table.groupby(list(SETTINGS), sort=False, dropna=False):
        students, baselines = scores[own.index[own["best"]]], scores[own.index[own["kind"] == BASELINE]].dropna()
        if students.empty or baselines.empty or baselines.max() <= students.max():
            continue
        named = {"on": protocol, "at size": size}  # where the table has several
        several = [table[name].nunique(dropna=False) > 1 for name in SETTINGS]
        where = "".join(
            f" {word} {name}" for (word, name), is_one in zip(named.items(), several, strict=True) if is_one
        )
        notes.append(
            f"a baseline beats the best student{where}: {names[baselines.idxmax()]} has"
            f" {100 * baselines.max():.1f}, the student {100 * students.max():.1f}"
        )
    return notes
