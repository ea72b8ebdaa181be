"""Cost of teachers and students where they run, in three number formats, with their scores in each.

    python -m experiments.efficiency --preset smoke|cpu|gpu [--out DIR] [--set data.path=../shared/hoc]

Latencies depend on the machine: run this when nothing else runs (rows store the load average). ``job.cpus_per_worker``
sets the number of threads; the default is the number of cores.
"""

from __future__ import annotations

import sys

from experiments.grid import Block, Columns, Experiment, Method, Place, main
from experiments.methods import Perform, checkpoint, stage
from kdh_ray.errors import UnavailableError
from kdh_ray.inference.efficiency import FORMATS, measure
from kdh_ray.results import tables
from kdh_ray.results.method_rows import STEP

MODELS = {"teacher": "teacher", "distilled": "student"}  # name in tables -> stage


def measured(model: str, number_format: str) -> Perform:
    """Measure the checkpoint of a base stage in a number format."""

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
        except UnavailableError as error:  # the processor lacks this format, or memory is short: other cells still run
            raise JobError(str(error)) from None
        corpus = corpus_from_config(config.data)
        row = stage_row(config, MODELS[model], run_id(config, f"{columns['experiment']}-{number_format}"), corpus.name)
        about = {"metric": corpus.metric, "variant": number_format, "model": model}
        write_row(place.folder / "efficiency", {**row, **result, **about, **columns})

    return perform


METHODS = (
    Method("train-teacher", stage("teacher"), columns={"kind": STEP}),
    Method("train-distilled", stage("student"), needs=("train-teacher",), columns={"kind": STEP}),
    *(
        Method(f"{model}-{number_format}", measured(model, number_format), needs=(f"train-{model}",))
        for model in MODELS
        for number_format in FORMATS
    ),
)

GRID = {
    "smoke": (Block("study-smoke.yaml", ("large",), 1),),
    # The cost of a model does not depend on its training documents, and mpnet needs hours to train on all of them.
    "cpu": (Block("study-cpu-l3.yaml", ("large",), 3), Block("study-cpu.yaml", ("small",), 3)),
    "gpu": (Block("study-gpu.yaml", ("large",), 3),),
}

EXPERIMENT = Experiment("efficiency", METHODS, GRID, tables.efficiency)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, __doc__))
