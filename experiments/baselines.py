"""Baselines of distillation on the same splits: linear models, and plain fine-tuning of both encoders.

python -m experiments.baselines --preset smoke|cpu|gpu [--out DIR] [--set data.path=../shared/hoc]
"""

from __future__ import annotations

import sys

from experiments.dataset_sizes import GRID
from experiments.grid import Experiment, Method, main
from experiments.methods import baseline, stage
from kdh_ray.results import tables

METHODS = (
    Method("tf-idf-logistic", baseline("tf-idf")),
    Method("tf-idf-svm", baseline("tf-idf-svm")),
    Method("embeddings-logistic", baseline("embeddings")),
    Method("finetuned-student", stage("plain-student")),
    Method("finetuned-teacher", stage("teacher")),
)

EXPERIMENT = Experiment("baselines", METHODS, GRID, tables.by_size)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
