"""Size and latency of the students of a search, known before any is trained: they depend on the shape only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.config import SearchRange, SearchSpace, TuneConfig, every_range, ranges_of
from kdh_ray.errors import UserError
from kdh_ray.jobs.stage_search.space import SMALLER_SPACE, search_space

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig, StageConfig
    from kdh_ray.data.tokens import Tokens
    from kdh_ray.models.classifier import Classifier
    from kdh_ray.training.stages import Material

LATENCY, PARAMETERS = "latency_ms", "parameters"
_DOCUMENTS = 16  # timed documents, of which the median counts
_LENGTHS = 4  # timed maximum lengths of a range; those in between are interpolated


@dataclass(frozen=True)
class Costs:
    """Sizes and latencies of the students of one start, by the settings that they depend on.

    Attributes:
        parameters: Number of layers to number of parameters.
        latency_ms: Number of layers to milliseconds of one document, for each of ``lengths``.
        lengths: Maximum lengths in tokens, ascending.
        depth: Layers of a stage whose ``layers`` is not set.
    """

    parameters: Mapping[int, int]
    latency_ms: Mapping[int, tuple[float, ...]]
    lengths: tuple[int, ...]
    depth: int

    def of(self, stage: StageConfig) -> dict[str, float]:
        """Return parameters and latency of a stage's student."""
        layers = stage.layers or self.depth
        tokens = stage.max_tokens or self.lengths[-1]
        latency = float(np.interp(tokens, self.lengths, self.latency_ms[layers]))
        return {PARAMETERS: float(self.parameters[layers]), LATENCY: latency}


def violation(costs: Mapping[str, float], limits: TuneConfig) -> float:
    """Return by which share a student exceeds its budgets, summed over them; 0 if it keeps them.

    A trial over its budget is not trained. Its score (``Objective.of_infeasible``) is worse than all others, the worse
    the larger this sum is. So any searcher that sees only scores follows the three rules of Deb ("An efficient
    constraint handling method for genetic algorithms", 2000, section 3): a student within its budget beats one that
    exceeds it; of two within, the better score wins; of two that exceed it, the one closer to the budget wins, which
    leads the search back to it.
    """
    # sum over budgets of max(0, cost / limit - 1)
    pairs = ((costs[LATENCY], limits.max_latency_ms), (costs[PARAMETERS], limits.max_parameters))
    return sum(max(0.0, value / limit - 1.0) for value, limit in pairs if limit is not None)


def check_budget(costs: Sequence[Costs], limits: TuneConfig) -> None:
    """Refuse a search in which no student could keep its budget.

    Args:
        costs: Those of each start.
        limits: Settings of the search.

    Raises:
        UserError: With the cost of the cheapest student.
    """
    least = {
        "max_parameters": ("parameters", min(number for each in costs for number in each.parameters.values())),
        "max_latency_ms": ("ms a document", min(min(times) for each in costs for times in each.latency_ms.values())),
    }
    for setting, (unit, value) in least.items():
        limit = getattr(limits, setting)
        if limit is not None and value > limit:
            raise UserError(f"tune.{setting}: the space's cheapest student has {value:,.6g} {unit}; got {limit:,.6g}")


def measure_costs(material: Material, stage: StageConfig, space: SearchSpace, threads: int) -> Costs:
    """Build each student that the space allows, count its parameters, and time it on this machine's CPUs.

    Latency is the median over documents of the validation split, classified one by one in float32.

    Args:
        material: Material of the stage, with every layer and token.
        stage: The stage before a trial's settings.
        space: Ranges of the search.
        threads: Threads of torch, as many as trials will have.
    """
    import torch

    from kdh_ray.jobs.stage_search.student import student
    from kdh_ray.models.attention import select_attention
    from kdh_ray.models.classifier import encoder_layers

    depth = len(encoder_layers(material.model.encoder))
    tokens = material.validation.tokens
    longest = min(int(tokens.lengths.max()), material.reading.max_tokens)
    # Latency grows smoothly with length, so a few lengths are enough. It has a step at every layer, so all are timed.
    lengths = _values(space, "max_tokens", stage.max_tokens or longest, _LENGTHS)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    parameters, latency = {}, {}
    try:
        for layers in _values(space, "layers", stage.layers or depth):
            # The weights don't matter here: only the shape decides size and latency.
            model = student(material.model, stage.model_copy(update={"layers": layers})).eval()
            select_attention(model.encoder, "cpu", "float32")
            parameters[layers] = sum(parameter.numel() for parameter in model.parameters())
            latency[layers] = tuple(_latency(model, tokens.cut(length)) for length in lengths)
    finally:
        torch.set_num_threads(before)
    return Costs(parameters, latency, tuple(lengths), stage.layers or depth)


def _values(space: SearchSpace, setting: str, own: int, most: int | None = None) -> list[int]:
    """Return the integers that a setting may have in a trial, at most ``most`` of each range."""
    entries: list[SearchRange | None] = [*ranges_of(space, setting)]
    if setting not in space:  # some trials or all have the stage's own value
        entries.append(None)
    return sorted({value for entry in entries for value in _integers(entry, own, most)})


def _integers(entry: SearchRange | None, own: int, most: int | None = None) -> list[int]:
    """Return the integers of a range, at most ``most`` of them, evenly spread; without a range, the stage's own."""
    if entry is None:
        return [own]
    if entry.choices is not None:
        return sorted({int(choice) if choice is not None else own for choice in entry.choices})
    low, high = int(entry.low or 1), int(entry.high or 1)
    count = high - low + 1
    return sorted({round(value) for value in np.linspace(low, high, count if most is None else min(most, count))})


def _latency(model: Classifier, documents: Tokens) -> float:
    """Return milliseconds per document."""
    import torch

    from kdh_ray.inference.forward import pad

    # Evenly spread over the split, whose order may follow its source.
    numbers: Iterable[Any] = np.linspace(0, len(documents) - 1, min(_DOCUMENTS, len(documents))).astype(int)
    batches = [pad(documents, [int(number)], model.pad_id, torch.device("cpu")) for number in numbers]
    seconds = []
    with torch.inference_mode():
        for batch in [batches[0], *batches]:
            started = time.perf_counter()
            model(batch.input_ids, batch.attention_mask, batch.segment_numbers)
            seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[1:]))  # the first pass sets up kernels


def varied_cost(config: RunConfig) -> str | None:
    """Return the cost that differs among the trials of a search: parameters, latency, or None if there is none."""
    searched = {setting for _, setting, _ in every_range(search_space(config))}
    if not config.tune.searches_costs and not {*SMALLER_SPACE, "start"} & searched:
        return None
    return PARAMETERS if config.tune.max_latency_ms is None and config.tune.max_parameters else LATENCY
