"""The documents of a stage: which of a corpus's it trains on, and which judge it."""

from __future__ import annotations

from kdh_ray.config import RunConfig
from kdh_ray.data.corpus import Corpus
from kdh_ray.data.folds import fold_corpus, is_divided, refit_corpus


def documents_of_stage(config: RunConfig, name: str, corpus: Corpus) -> Corpus:
    """Return the corpus of a stage.

    A fold model is trained on the other folds and judged by its own. The mean of fold models is judged by all folds. A
    stage that is refit is trained on all folds, and its fold models stand for it where it is judged: its training and
    validation split are the same documents. Any other stage has the corpus's own splits.
    """
    stage, folds = config.stages[name], corpus.folds
    if folds is not None and stage.fold is not None:
        return fold_corpus(corpus, stage.fold)
    if folds is not None and (config.is_mean(name) or is_refit(config, name, corpus)):
        return refit_corpus(corpus)
    return corpus


def is_refit(config: RunConfig, name: str, corpus: Corpus) -> bool:
    """Return True if a stage is trained on all folds, validation documents among them, for as long as they found best.

    Where the protocol's validation split isn't for training, it chooses the epoch and the threshold as without folds.
    """
    return is_divided(corpus) and bool(config.parts(name)) and not config.is_mean(name)
