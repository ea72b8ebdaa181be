"""Distil large multi-label text classifiers into small ones that run where the text is.

>>> from kdh_ray import load_corpus, run
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load_config", "load_corpus", "run"]

if TYPE_CHECKING:
    from kdh_ray.config import load_config
    from kdh_ray.data import load_corpus
    from kdh_ray.jobs import run

_HOMES = {"load_config": "kdh_ray.config", "load_corpus": "kdh_ray.data", "run": "kdh_ray.jobs"}


def __getattr__(name: str) -> Any:
    """Import on first use: torch, transformers and Ray take seconds that ``import kdh_ray`` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
