"""Texts that are nearly the same in two splits: copied notes, corrected versions, filled-in templates.

MinHash (Broder, 1997, On the Resemblance and Containment of Documents) finds candidates without comparing every pair,
as the package datasketch implements it; the words of the candidates then decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

from kdh_ray.data.corpus import SPLIT_NAMES, Corpus, Split

if TYPE_CHECKING:
    from datasketch import MinHash

SIMILARITY = 0.7  # Jaccard similarity of two texts' pairs of words from which they are nearly the same
MOST_DOCUMENTS = 100_000  # a corpus of more is not searched: it would take minutes and gigabytes

# 25 bands of 5 hashes: a pair of similarity 0.7 is a candidate with a probability of 99 %, one of 0.3 with 6 %.
_BANDS, _ROWS = 25, 5
# Scripts without spaces between words count by the character: kana, Han and their relatives.
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\W\u2e80-\u9fff\uf900-\ufaff]+")


def near_duplicates(corpus: Corpus) -> dict[tuple[str, str], list[str]]:
    """Find held-out documents that are nearly the same as one of an earlier split, but not the same.

    Returns:
        Names of an earlier and a later split -> ids of documents of the later one. Empty if the corpus has
        more than ``MOST_DOCUMENTS`` documents.
    """
    from datasketch import MinHashLSH

    if sum(map(len, corpus.splits.values())) > MOST_DOCUMENTS:
        return {}
    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    found: dict[tuple[str, str], set[int]] = {}
    # Held-out documents are indexed, since they are the fewer; the training split, which comes last, only asks.
    for earlier in ("test", "validation", "train"):
        signatures = []
        for number, signature in enumerate(_signatures(corpus.splits[earlier].texts)):
            for later, other in index.query(signature):
                twins = found.setdefault((earlier, later), set())
                if other not in twins and _are_near(corpus.splits[earlier], number, corpus.splits[later], other):
                    twins.add(other)
            if earlier != "train":
                signatures.append(signature)
        for number, signature in enumerate(signatures):
            index.insert((earlier, number), signature, check_duplication=False)
    return {
        (earlier, later): [corpus.splits[later].ids[number] for number in sorted(found[earlier, later])]
        for earlier, later in combinations(SPLIT_NAMES, 2)
        if found.get((earlier, later))
    }


class Lookup:
    """Finds texts that are nearly the same as one of ``known``; the same ones count, too."""

    def __init__(self, known: Sequence[str]) -> None:
        from datasketch import MinHashLSH

        self._known = known
        self._index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        for number, signature in enumerate(_signatures(known)):
            self._index.insert(number, signature, check_duplication=False)

    def near(self, texts: Sequence[str]) -> list[int]:
        """Return the places of those texts that are nearly the same as a known one."""
        return [
            place
            for place, signature in enumerate(_signatures(texts))
            if any(_have_pairs_in_common(texts[place], self._known[other]) for other in self._index.query(signature))
        ]


def _signatures(texts: Sequence[str]) -> Iterator[MinHash]:
    from datasketch import MinHash

    pairs = ([pair.encode("utf-8", "surrogatepass") for pair in word_pairs(text)] for text in texts)
    yield from MinHash.generator(pairs, num_perm=_BANDS * _ROWS)


def _are_near(first: Split, number: int, second: Split, other: int) -> bool:
    if first.digests[number] == second.digests[other]:
        return False
    return _have_pairs_in_common(first.texts[number], second.texts[other])


def _have_pairs_in_common(text: str, other: str) -> bool:
    one, two = _pairs_of_candidate(text), _pairs_of_candidate(other)
    return len(one & two) >= SIMILARITY * len(one | two)


def word_pairs(text: str) -> frozenset[str]:
    """Return the pairs of words that follow each other, in lower case and without punctuation."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return frozenset(" ".join(words[start : start + 2]) for start in range(max(1, len(words) - 1)))


# A candidate is compared with several others. Pairs of every text would take 30 KB each.
_pairs_of_candidate = lru_cache(maxsize=10_000)(word_pairs)
