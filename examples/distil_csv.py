"""Distil a classifier of your own table from Python: python examples/distil_csv.py [notes.csv pain fever cough ...]

Without arguments it invents 120 clinic notes, and trains two layers and one in a few seconds: enough to see each step,
too little for a good classifier. With a table and the names of its 0/1 columns it trains six layers and three.
"""

from __future__ import annotations

import sys

from invented_notes import FINDINGS
from invented_notes import main as invent

from kdh_ray import load_classifier, load_corpus, run


def distil(path: str, labels: list[str], layers: tuple[int, int], epochs: tuple[int, int], out: str) -> None:
    """Look at a table, train a teacher, distil it, print the scores, and label a text.

    Args:
        path: A table with a column ``text`` and a 0/1 column for each label.
        labels: Names of the label columns.
        layers: Encoder layers of teacher and student.
        epochs: Passes of each over the training split.
        out: Folder of the run; a second call resumes there.
    """
    data = {"corpus": "table", "path": path, "label_columns": labels, "max_tokens": 96}
    corpus = load_corpus("table", path, label_columns=labels)
    for name, split in corpus.splits.items():
        print(f"{name}: {len(split)} documents, {split.targets.mean():.2f} of the labels hold")

    teacher = {"start": "embedded", "layers": layers[0], "epochs": epochs[0], "learning_rate": 3e-4}
    student = {"start": "teacher", "layers": layers[1], "teachers": ["teacher"], "epochs": epochs[1]}
    config = {"name": "notes", "data": data, "stages": {"teacher": teacher, "student": student}}
    frame = run(config, out, local=True)  # local: in this process; on Ray without it
    print(frame[["stage", "parameters", "test_f1_micro", "seconds"]].to_string(index=False))

    classifier = load_classifier(f"{out}/stages/student/checkpoint")
    prediction = classifier.predict(["Phone consultation. Denies having chills. Has a dry cough."])
    print("labels:", prediction.labels[0])
    print("probabilities:", dict(zip(classifier.labels, prediction.probabilities[0].round(3).tolist(), strict=True)))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        distil(sys.argv[1], sys.argv[2:], layers=(6, 3), epochs=(4, 8), out="runs/distil-csv")
    else:
        invent("notes.csv", 120)
        distil("notes.csv", list(FINDINGS), layers=(2, 1), epochs=(1, 1), out="runs/distil-csv-tiny")
