"""The workers that train together, by torch.distributed; one where it is not initialised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist
from torch import nn

T = TypeVar("T")


def rank() -> int:
    """This worker's number; 0 writes files and rows."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def size() -> int:
    """How many workers there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(value: T) -> list[T]:
    """Every worker's ``value``, in the order of their ranks, on every worker."""
    if size() == 1:
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def of_first(value: T) -> T:
    """Rank 0's ``value``, on every worker.

    What rank 0 sees in a shared folder, other machines may see up to a minute later (NFS keeps what it knows of names).
    So it decides, and none of the others asks for a name before that: also an answer of "not there" would be kept.
    """
    return gather(value)[0]


def share(items: Sequence[int]) -> list[int]:
    """This worker's share of a batch: equally many for everyone, a short batch being filled from its start."""
    filled = [*items, *list(items)[: -len(items) % size()]] if len(items) >= size() else [*items] * size()
    return filled[rank() :: size()][: -(-len(items) // size())]


def parallel(module: nn.Module) -> nn.Module:
    """``module`` with gradients averaged over the workers."""
    if size() == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(module)
