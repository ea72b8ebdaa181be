"""The workers that train together by torch.distributed. Without it, this process is the only worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist
from torch import nn

T = TypeVar("T")


def rank() -> int:
    """Return this worker's number, from 0; worker 0 writes files and rows."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def size() -> int:
    """Return the number of workers."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(value: T) -> list[T]:
    """Return every worker's ``value``, ordered by rank, on every worker."""
    if size() == 1:
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def of_first(value: T) -> T:
    """Return the ``value`` of rank 0 on every worker.

    Use it for decisions that depend on files in a shared folder. NFS caches names for up to a minute, also the names of
    files that do not exist, so another machine may not see yet what rank 0 sees.
    """
    return gather(value)[0]


def share(items: Sequence[int]) -> list[int]:
    """Return this worker's share of a batch; all shares have the same length.

    A batch that can't be divided equally is filled up with items from its start.
    """
    filled = [*items, *list(items)[: -len(items) % size()]] if len(items) >= size() else [*items] * size()
    return filled[rank() :: size()][: -(-len(items) // size())]


def parallel(module: nn.Module) -> nn.Module:
    """Return ``module`` with gradients averaged over the workers."""
    if size() == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(module)
