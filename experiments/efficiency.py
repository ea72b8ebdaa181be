"""What teachers and students cost where they run, in three number formats, and what they score so.

    python -m experiments.efficiency --preset smoke|cpu|gpu [--out DIR] [--set data.path=../shared/hoc]

Latencies are of this machine: run it when nothing else runs (rows keep the load average). ``job.cpus_per_worker`` sets
the number of threads, which is that of the cores otherwise.
"""

from __future__ import annotations

import sys

from experiments.grid import Block, Columns, Experiment, Method, Place, main
from experiments.methods import Perform, checkpoint, stage
from kdh_ray.errors import UnavailableError
from kdh_ray.inference.efficiency import FORMATS, measure
from kdh_ray.results import tables

MODELS = {"teacher": "teacher", "distilled": "student"}  # as tables call them -> stage


def measured(model: str, number_format: str) -> Perform:
    """A base stage's checkpoint in a number format."""

    def perform(place: Place, columns: Columns) -> None:
        from kdh_ray.data import corpus_from_config
        from kdh_ray.hardware import describe
        from kdh_ray.jobs.ray_train import JobError
        from kdh_ray.jobs.run_rows import run_id
        from kdh_ray.results import write_row
        from kdh_ray.results.stage_rows import stage_row

        config = place.config
        threads = config.job.cpus_per_worker or describe(gpus=False).cores
        try:
            result = measure(checkpoint(place, MODELS[model]), config.data, number_format, threads)
        except UnavailableError as error:  # a processor without this format, or too little memory: others go on
            raise JobError(str(error)) from None
        corpus = corpus_from_config(config.data)
        row = stage_row(config, MODELS[model], run_id(config, f"{columns['experiment']}-{number_format}"), corpus.name)
        about = {"metric": corpus.metric, "variant": number_format, "model": model}
        write_row(place.folder / "efficiency", {**row, **result, **about, **columns})

    return perform


METHODS = (
    Method("train-teacher", stage("teacher"), columns={"kind": "step"}),
    Method("train-distilled", stage("student"), needs=("train-teacher",), columns={"kind": "step"}),
    *(
        Method(f"{model}-{number_format}", measured(model, number_format), needs=(f"train-{model}",))
        for model in MODELS
        for number_format in FORMATS
    ),
)

GRID = {
    "smoke": (Block("study-smoke.yaml", ("large",), 1),),
    # What a model costs does not depend on the documents that it learnt from, and mpnet needs hours to learn from all.
    "cpu": (Block("study-cpu-l3.yaml", ("large",), 3), Block("study-cpu.yaml", ("small",), 3)),
    "gpu": (Block("study-gpu.yaml", ("large",), 3),),
}

EXPERIMENT = Experiment("efficiency", METHODS, GRID, tables.efficiency)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
