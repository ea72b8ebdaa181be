"""Corpora: HoC, the synthetic corpus and users' own tables, with their checks, samples and descriptions."""

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Segments, Split
from kdh_ray.data.loading import READERS, corpus_from_config, load_corpus

CORPORA = tuple(READERS)
"""Names of the corpora that :func:`load_corpus` takes."""

__all__ = ["CORPORA", "SPLIT_NAMES", "Corpus", "Segments", "Split", "corpus_from_config", "load_corpus"]
