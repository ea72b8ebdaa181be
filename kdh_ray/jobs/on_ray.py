"""The stages of a run on Ray: most of them in order in one Ray Train job, the members of an ensemble side by side."""

from __future__ import annotations

from dataclasses import replace

from kdh_ray.cluster import nodes, session
from kdh_ray.data.corpus import Corpus
from kdh_ray.events import EventLog, follow_events
from kdh_ray.jobs.members import average_members, train_side_by_side
from kdh_ray.jobs.plan import RunOptions, RunPlan
from kdh_ray.jobs.ray_train import train_in_order
from kdh_ray.jobs.unlabelled import predict_text


def train_on_ray(plan: RunPlan, corpus: Corpus, options: RunOptions) -> None:
    """Train the stages on Ray workers; their results are in the run's folder afterwards.

    Raises:
        UserError: If a machine can't do the work, a worker met bad input, or a disk is full.
        JobError: If workers failed more often than ``job.max_failures``.
        KeyboardInterrupt: After Ctrl-C, once the workers have been stopped.
    """
    if plan.finished:
        return  # no need for a cluster
    job, events = plan.config.job, plan.folder.events

    def check_machines() -> None:
        nodes.check_machines(plan.folder.path, plan.encoders)

    with (
        follow_events(events, options.listener),
        session.ray_session(job, options.verbose, check=check_machines, log=EventLog(events)),
    ):
        _train(plan, corpus, options)


def _train(plan: RunPlan, corpus: Corpus, options: RunOptions) -> None:
    import ray

    stored = ray.put(corpus)  # it travels once per machine, not once per worker
    for way, part in _parts(plan):
        if part.finished:
            continue
        predict_text(plan.config, plan.folder, part.stages, corpus, options, EventLog(plan.folder.events))
        if way == "side by side":
            train_side_by_side(part, stored)
        elif way == "mean":
            average_members(part, corpus)
        else:
            train_in_order(part, stored)


def _parts(plan: RunPlan) -> list[tuple[str, RunPlan]]:
    """Return the stages in groups that are trained together, and how.

    A stage that learns from unlabelled text begins a group if one of its teachers, which predict the text before, is
    in the group so far.
    """
    groups: list[tuple[str, list[str]]] = []
    for name in plan.stages:
        way, taught_by = _way(plan, name), plan.config.unlabelled_teachers(name)
        before = {each for teacher in taught_by if teacher in plan.stages for each in plan.config.with_parts(teacher)}
        if not groups or groups[-1][0] != way or before & {*groups[-1][1]}:
            groups.append((way, []))
        groups[-1][1].append(name)
    return [(way, replace(plan, stages=tuple(names))) for way, names in groups]


def _way(plan: RunPlan, name: str) -> str:
    """Return how a stage is trained. Where several workers train every model, members are stages like any other."""
    if plan.config.job.workers > 1:
        return "in order"
    if plan.config.is_mean(name):
        return "mean"
    # A member that is trained on all folds needs its own parts first.
    return "side by side" if plan.config.ensemble_of(name) and not plan.config.parts(name) else "in order"
