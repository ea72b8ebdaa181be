"""Distil large multi-label text classifiers into small ones that run where the text is.

>>> from kdh_ray import load_classifier, load_corpus, load_runs, run, search
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["load_classifier", "load_corpus", "load_runs", "run", "search"]

if TYPE_CHECKING:
    from kdh_ray.data import load_corpus
    from kdh_ray.inference.classifier import load_classifier
    from kdh_ray.jobs.run import run
    from kdh_ray.jobs.stage_search import search
    from kdh_ray.results import load_runs

_HOMES = {
    "load_classifier": ("kdh_ray.inference.classifier", "load_classifier"),
    "load_corpus": ("kdh_ray.data", "load_corpus"),
    "load_runs": ("kdh_ray.results", "load_runs"),
    "run": ("kdh_ray.jobs", "run"),
    "search": ("kdh_ray.jobs.stage_search", "search"),
}


def __getattr__(name: str) -> Any:
    """Import a public function on first use: torch, transformers and Ray take seconds that ``import kdh_ray`` saves."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, function = _HOMES[name]
    return getattr(import_module(module), function)
