"""Checks before a run starts: what would fail after minutes is refused within seconds."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from kdh_ray.config import RunConfig
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.data.text_pool import find_files
from kdh_ray.errors import UserError
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.jobs.publish import check_writable
from kdh_ray.models.checkpoint import CARD, check_pooling, load_card, verified
from kdh_ray.models.encoder_check import check_encoder
from kdh_ray.models.encoders import encoder_shape


def check_plan(plan: RunPlan) -> list[str]:
    """Check that results and cache can be written, and that the stages, encoders and teachers exist and fit.

    Returns:
        Notes for the user, a sentence each.

    Raises:
        UserError: With the stage, and what is wrong or missing.
    """
    config = plan.config
    if config.results:
        check_writable(config.results)
    if config.cache is not None:
        check_writable(str(config.cache), "cache")
    if unknown := [name for name in plan.stages if name not in config.stages]:
        raise UserError(f"no such stage: {', '.join(unknown)} (stages: {', '.join(config.stages)})")
    find_files(config.data)
    notes: dict[str, list[str]] = {}
    for name in plan.stages:
        _check_earlier_stages(plan, name)
        if (start := config.stages[name].start) not in notes:
            notes[start] = _check_start(config, name)
        _check_pooling(config, name)
        _check_teachers(config, name)
        _check_sizes(config, name)
    return [note for found in notes.values() for note in found]


def _check_earlier_stages(plan: RunPlan, name: str) -> None:
    for earlier in plan.config.direct_needs(name):
        if earlier not in plan.stages and not plan.folder.stage(earlier).finished:
            raise UserError(f"stages.{name}: needs stage {earlier!r}, which is not finished in {plan.folder}")
        if plan.folder.stage(earlier).finished and not plan.folder.stage(name).finished:
            for model in plan.config.models(earlier):
                try:
                    verified(plan.folder.stage(model).checkpoint)
                except UserError as error:
                    raise type(error)(f"stages.{name}: {error}") from None


def _check_start(config: RunConfig, name: str) -> list[str]:
    start = config.stages[name].start
    if start in config.stages:  # its own start is checked with it
        return []
    try:
        if (Path(start).expanduser() / CARD).exists():
            verified(Path(start).expanduser())
        return check_encoder(start, config.precision)
    except UserError as error:
        match = get_close_matches(start, [other for other in config.stages if other != name], n=1)
        hint = f"; did you mean the stage {match[0]!r}?" if match else ""
        raise type(error)(f"stages.{name}.start: {error}{hint}") from None


def _check_pooling(config: RunConfig, name: str) -> None:
    stage = config.stages[name]
    if stage.start in config.stages:  # the configuration compares the two
        return
    try:
        check_pooling(stage.start, stage.pooling)
    except UserError as error:
        raise type(error)(f"stages.{name}: {error}") from None


def _check_teachers(config: RunConfig, name: str) -> None:
    for teacher in _outside_teachers(config, name):
        try:
            verified(Path(teacher))
            check_encoder(teacher)
        except UserError as error:
            raise type(error)(f"stages.{name}.teachers: {error}") from None


def _outside_teachers(config: RunConfig, name: str) -> list[str]:
    """Return the teachers of a stage that are checkpoints of other runs."""
    taught_by = (*config.stages[name].teachers, *config.unlabelled_teachers(name))
    return [teacher for teacher in dict.fromkeys(taught_by) if teacher not in config.stages]


def _check_sizes(config: RunConfig, name: str) -> None:
    """Compare a stage's layers and tokens with those of its encoder."""
    stage = config.stages[name]
    encoder, layers_left = config.origin(stage.start)
    try:
        shape = encoder_shape(encoder)
    except UserError:  # the encoder of a finished stage, which no longer needs it
        return
    depth = layers_left or shape.layers
    tokens = stage.max_tokens or config.data.max_tokens
    if stage.layers is not None and stage.layers > depth:
        raise UserError(f"stages.{name}.layers: the start has {depth} encoder layers; got {stage.layers}")
    if shape.longest is not None and tokens > shape.longest:
        raise UserError(
            f"stages.{name}: {encoder} reads at most {shape.longest} tokens; got {tokens}"
            " (lower data.max_tokens, or the stage's own)"
        )


def load_data(plan: RunPlan) -> Corpus:
    """Load the corpus, and check that it has the labels of all teachers from other runs.

    Raises:
        UserError: If the corpus can't be used, a teacher has other labels, or a loss is constant over so few labels.
    """
    from kdh_ray.inference.scoring import check_labels

    config = plan.config
    corpus = corpus_from_config(config.data)
    for name in plan.stages:
        stage = config.stages[name]
        if stage.teachers and stage.loss.alpha and stage.loss.soft == "softmax-kl" and len(corpus.labels) == 1:
            raise UserError(f"stages.{name}.loss.soft: softmax-kl over a single label is always 0: take bernoulli-kl")
    for teacher in sorted({teacher for name in plan.stages for teacher in _outside_teachers(config, name)}):
        check_labels(Path(teacher), load_card(Path(teacher)).labels, list(corpus.labels))
    return corpus
