"""Ablation: one change per row to the full method, which is swarm-tuned distillation and fine-tuning on labels.

    python -m experiments.ablations --preset smoke|cpu|gpu [--out DIR] [--set data.path=../shared/hoc]

Each change is made to the settings that the swarm found, and everything else stays the same. Thresholds need no
training: the table reads their scores from the row of the full method.
"""

from __future__ import annotations

import sys
from typing import Any

from experiments.grid import Block, Experiment, Method, Place, main
from experiments.methods import changed, searched, searched_finetuned, stage
from kdh_ray.results import tables
from kdh_ray.results.method_rows import STEP, TEACHER

FULL = tables.REFERENCE


def other_start(place: Place) -> dict[str, Any]:
    """Return the other start of the student: the pretrained encoder instead of the teacher's layers, or the reverse."""
    from kdh_ray.models.encoders import encoder_shape

    plain = place.config.stages["plain-student"]
    if place.config.stages["student"].start != plain.start:
        return {"start": plain.start, "layers": plain.layers}
    return {"start": "teacher", "layers": plain.layers or encoder_shape(plain.start).layers}


def change(name: str, what: str, changes: Any, *needs: str) -> Method:
    """Return the full method with ``changes``; ``what`` names them in tables."""
    return Method(name, changed(changes), needs=("without-sequential-stages", *needs), columns={"variant": what})


METHODS = (
    Method("teacher", stage("teacher")),
    Method("teacher-2", stage("teacher-2"), columns={"kind": TEACHER}),
    Method("plain-student", stage("plain-student"), columns={"kind": STEP}),
    Method("distilled", stage("student"), needs=("teacher",), columns={"kind": STEP}),
    Method(
        "without-sequential-stages", searched("pso"), needs=("teacher",), columns={"variant": "stages"}, on_ray=True
    ),
    Method(FULL, searched_finetuned("pso"), needs=("without-sequential-stages",), columns={"variant": "reference"}),
    change("without-distillation", "distillation", {"teachers": ()}),
    Method("default-settings", stage("finetuned"), needs=("distilled",), columns={"variant": "search"}),
    Method("random-step", searched("random"), needs=("teacher",), columns={"kind": STEP}, on_ray=True),
    Method("random-search", searched_finetuned("random"), needs=("random-step",), columns={"variant": "search"}),
    change("softmax-loss", "soft loss", {"loss.soft": "softmax-kl"}),
    change("alpha-0.25", "alpha", {"loss.alpha": 0.25}),
    change("alpha-0.5", "alpha", {"loss.alpha": 0.5}),
    change("alpha-1", "alpha", {"loss.alpha": 1.0}),
    change("temperature-1", "temperature", {"loss.temperature": 1.0}),
    change("temperature-2", "temperature", {"loss.temperature": 2.0}),
    change("temperature-8", "temperature", {"loss.temperature": 8.0}),
    change("hidden-loss", "hidden loss", {"loss.hidden_weight": 1.0}),
    change("other-start", "initialisation", other_start),
    change("plain-student-start", "initialisation", {"start": "plain-student", "layers": None}, "plain-student"),
    change("two-teachers", "teachers", {"teachers": ("teacher", "teacher-2")}, "teacher-2"),
)

GRID = {
    "smoke": (Block("study-smoke.yaml", ("large",), 1),),
    "cpu": (Block("study-cpu-l3.yaml", ("small",), 3),),
    "gpu": (Block("study-gpu.yaml", ("large",), 10),),
}

EXPERIMENT = Experiment("ablations", METHODS, GRID, tables.ablation)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
