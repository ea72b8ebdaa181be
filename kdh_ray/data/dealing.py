"""The split rule of a configuration: documents dealt into parts, with groups and equal texts kept together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdh_ray.config import DataConfig
from kdh_ray.data.corpus import Split
from kdh_ray.data.hashed_splits import hashed_parts
from kdh_ray.data.sampling import grouped_parts, joined_groups


def seeded_parts(split: Split, shares: Sequence[float], data: DataConfig, purpose: str = "") -> NDArray[np.int64]:
    """Divide documents by ``data.split_rule`` and ``data.sample_seed``.

    Args:
        split: The documents.
        shares: Each part's share of the documents; they add up to 1.
        data: Names the rule, the seed, and the column that identifies documents or groups.
        purpose: Deals that differ in it are independent of each other.

    Returns:
        (n_documents,) index of each document's part.
    """
    keys: Sequence[str] = split.digests if data.id_column is None else split.ids
    groups: Sequence[str] = split.digests
    if split.groups is not None:
        keys, groups = split.groups, joined_groups(split.groups, split.digests)
    if data.split_rule == "stratified":
        return grouped_parts(groups, split.targets, shares, data.sample_seed)
    return hashed_parts([f"{purpose}{key}" for key in keys], groups, split.targets, shares, data.sample_seed)
