"""Compare ways to make the most of few documents: more teachers, unlabelled text, folds, a search, longer training.

    python -m experiments.few_documents notes.jsonl.gz --out runs/few [--documents 600] [--seeds 3] [--ways recipe ...]

The table has columns `id`, `split`, `labels` and `segments` (see experiments/configs/few-documents.yaml). Each seed
draws its own documents from the training split, an eighth of which validate; the test split is always the whole one.
All ways of a seed share documents and settings:

* recipe: one teacher, one student;
* longer: the student learns for 20 epochs instead of 6, at a higher rate;
* members: three teachers that differ by their seeds teach the student;
* unlabelled: the same, and the training documents that were not drawn are text without labels;
* folds: three folds in place of the validation split; see `data.folds`;
* search: the recipe is the first of 12 trials, which then teach the student; see `tune.final`. Its table has the best
  trial as `student-trials-1`.

Every way resumes where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray import run, search
from kdh_ray.config import RunConfig, load_config
from kdh_ray.errors import UserError
from kdh_ray.results import load_runs
from kdh_ray.results.method_rows import TRIAL

if TYPE_CHECKING:
    import pandas as pd

CONFIG = Path(__file__).parent / "configs" / "few-documents.yaml"
MEMBERS = {"stages.teacher.members": 3, "stages.student.start": "teacher-1"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "recipe": {},
    "longer": {"stages.student.epochs": 20, "stages.student.learning_rate": 5e-4},
    "members": MEMBERS,
    "unlabelled": {**MEMBERS, "data.unlabelled.text_column": "text", "data.unlabelled.id_column": "id"},
    "folds": {"data.folds": 3},
    "search": {"tune.trials": 12, "tune.particles": 6, "tune.final": "distilled"},
}


def draw_documents(table: Path, target: Path, others: Path, documents: int, seed: int) -> None:
    """Write a table of ``documents`` training documents, an eighth of them for validation, and the whole test split.

    Args:
        table: All documents.
        target: File of the table.
        others: File for the text of the training documents that were not drawn.
        documents: Number of documents to draw.
        seed: Seed of the draw.
    """
    import pandas as pd

    rows = pd.read_json(table, lines=True, dtype=False)
    train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    if len(train) < documents:
        raise UserError(f"{table.name}: has {len(train)} training documents, got --documents {documents}")
    order = np.random.default_rng(seed).permutation(len(train))
    drawn, left = train.iloc[order[:documents]], train.iloc[order[documents:]]
    splits = ["validation" if place < documents // 8 else "train" for place in range(documents)]
    target.parent.mkdir(parents=True, exist_ok=True)
    texts = [" ".join(segment["text"] for segment in segments) for segments in left["segments"]]
    left[["id"]].assign(text=texts).to_json(others, orient="records", lines=True)
    pd.concat([drawn.assign(split=splits), test]).to_json(target, orient="records", lines=True)


def configured(way: str, table: Path, others: Path, seed: int, overrides: list[str]) -> RunConfig:
    """Return the configuration of a way, for the files of :func:`draw_documents`."""
    own = {"name": f"{way}-{seed}", "seed": seed, "data.path": table, **WAYS[way]}
    if way == "unlabelled":
        own["data.unlabelled.path"] = others
    return load_config(CONFIG, [*overrides, *(f"{name}={value}" for name, value in own.items())])


def perform(way: str, config: RunConfig, out: Path) -> None:
    """Train one way, or resume it."""
    columns = {"experiment": "few-documents", "method": way}
    if config.tune.trials is None:
        run(config, out, columns=columns)
    else:
        search(config, out, whole=True, resume=True, columns=columns)


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a line per way and stage: mean and standard deviation over seeds of micro F1, in %."""
    columns = ["validation_f1_micro", "test_f1_micro"]
    rows = frame[frame["kind"] != TRIAL]
    rows = rows.assign(**{name: 100 * rows[name] for name in columns})
    groups = rows.groupby(["method", "stage"], sort=False, dropna=False)[columns]
    return groups.agg(["mean", "std", "count"]).round(1)


def main(arguments: list[str] | None = None, perform: Callable[[str, RunConfig, Path], None] = perform) -> int:
    """Perform all ways with all seeds, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="JSON Lines with id, split, labels and segments")
    parser.add_argument("--out", type=Path, default=Path("runs/few-documents"))
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args(arguments)
    try:
        for seed in range(args.seeds):
            table, others = (args.out / f"{name}-{seed}.jsonl" for name in ("documents", "others"))
            if not table.exists():
                draw_documents(args.table, table, others, args.documents, seed)
            for way in args.ways:
                perform(way, configured(way, table, others, seed, args.set), args.out / f"{way}-{seed}")
        print(scores(load_runs(args.out)).to_string())
    except UserError as error:
        print(f"few_documents: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
