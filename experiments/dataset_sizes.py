"""Micro F1 by size of the training split: teacher, plain student, distilled, fine-tuned and swarm-tuned students.

python -m experiments.dataset_sizes --preset smoke|cpu|gpu [--out DIR] [--set data.path=../shared/hoc]
"""

from __future__ import annotations

import sys

from experiments.grid import Block, Experiment, Method, main
from experiments.methods import searched, searched_finetuned, stage
from kdh_ray.results import tables

SIZES = ("small", "medium", "large")

METHODS = (
    Method("teacher", stage("teacher")),
    Method("plain-student", stage("plain-student")),
    Method("distilled", stage("student"), needs=("teacher",)),
    Method("distilled-finetuned", stage("finetuned"), needs=("distilled",)),
    Method("swarm-tuned", searched("pso"), needs=("teacher",), on_ray=True),
    Method("swarm-tuned-finetuned", searched_finetuned("pso"), needs=("swarm-tuned",)),
)

GRID = {
    "smoke": (Block("study-smoke.yaml", SIZES, 1),),
    "cpu": (Block("study-cpu-l3.yaml", SIZES, 10), Block("study-cpu.yaml", SIZES, 6)),
    "gpu": (Block("study-gpu.yaml", SIZES, 10),),
}

EXPERIMENT = Experiment("dataset_sizes", METHODS, GRID, tables.by_size)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
