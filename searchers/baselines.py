"""Former name of :mod:`searchers.factory`."""

import warnings

from searchers.factory import SEARCHERS, make_searcher

__all__ = ["SEARCHERS", "make_searcher"]

warnings.warn("searchers.baselines is now searchers.factory", FutureWarning, stacklevel=2)
