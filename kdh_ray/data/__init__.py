"""Corpora: what they are, where they come from (`hoc`, `synthetic`, `tables`), what is in them (`describe`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Segments, Split

if TYPE_CHECKING:
    import os

    from kdh_ray.config import DataConfig

CORPORA = ("synthetic", "hoc-blurb", "hoc-blue", "hoc-sentence", "table")

__all__ = ["CORPORA", "SPLIT_NAMES", "Corpus", "Segments", "Split", "corpus_from_config", "load_corpus"]


def load_corpus(name: str, path: str | os.PathLike[str] | None = None, **options: Any) -> Corpus:
    """Load a corpus by the name of its protocol.

    Args:
        name: ``synthetic``, ``hoc-blurb``, ``hoc-blue``, ``hoc-sentence`` or ``table``.
        path: Where HoC or a user's table is.
        **options: Any field of :class:`kdh_ray.config.DataConfig`: ``size``, ``sample_seed``, ``text_column``, ...

    Raises:
        ConfigError: If an option is unknown or out of range.
        DataError: If the corpus is missing or can't be used as it is.
    """
    from kdh_ray.config import parse_data

    return corpus_from_config(parse_data({"corpus": name, "path": path, **options}, "load_corpus"))


def corpus_from_config(data: DataConfig) -> Corpus:
    """Load, sample and check the corpus that a configuration names.

    Raises:
        DataError: If the corpus is missing or can't be used as it is.
    """
    from kdh_ray.data.corpus_checks import check_corpus
    from kdh_ray.data.sampling import nested_sample

    corpus = _read(data)
    check_corpus(corpus)
    sample = nested_sample(corpus, data.size, data.sample_seed, _groups(corpus))
    if sample is not corpus:
        check_corpus(sample)
    if data.unlabelled:
        from kdh_ray.data.unlabelled import read_unlabelled

        return replace(sample, unlabelled=read_unlabelled(data.unlabelled, sample))
    return sample


def _groups(corpus: Corpus) -> list[str] | None:
    """What items of the training split must stay together in a sample: the sentences of a document."""
    if corpus.name != "hoc-sentence":
        return None
    return [id_.partition("#")[0] for id_ in corpus.splits["train"].ids]


def _read(data: DataConfig) -> Corpus:
    from kdh_ray.data import hoc
    from kdh_ray.errors import DataError

    if data.corpus in hoc.PROTOCOLS:
        return hoc.read_hoc(data.corpus, data.path)
    if data.corpus == "table":
        from kdh_ray.data.table_corpus import read_table_corpus

        return read_table_corpus(data)
    if data.corpus == "synthetic":
        from kdh_ray.data.synthetic import synthetic_corpus

        return synthetic_corpus(data.documents, data.sample_seed)
    raise DataError(f"corpus must be one of {', '.join(CORPORA)}; got {data.corpus!r}")
