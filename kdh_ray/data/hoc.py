"""The Hallmarks of Cancer corpus (HoC) in its original layout, under the protocols of published results.

``text/PMID.txt`` holds an abstract, one sentence per line. ``labels/PMID.txt`` holds a field per sentence, each with a
``<`` before it. Labels in a field are separated by ``AND``, and the levels of a label by ``--``; the first level is the
hallmark. A field that is blank or ``NULL`` has no label. A document has the labels of all its sentences.

Source: Baker et al. (2016), Automatic semantic classification of scientific literature according to the hallmarks of
cancer, doi:10.1093/bioinformatics/btv585. The corpus is licensed under the GPL-3.0 and is not part of this package;
the splits, lists of PubMed ids, are those of BLURB (Gu et al. 2021, doi:10.1145/3458754).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Segments, Split
from kdh_ray.data.messages import listing
from kdh_ray.errors import DataError

# In alphabetical order, as in BLUE and BLURB. Column j of every target is HALLMARKS[j].
HALLMARKS = (
    "Activating invasion and metastasis",
    "Avoiding immune destruction",
    "Cellular energetics",
    "Enabling replicative immortality",
    "Evading growth suppressors",
    "Genomic instability and mutation",
    "Inducing angiogenesis",
    "Resisting cell death",
    "Sustaining proliferative signaling",
    "Tumor promoting inflammation",
)
SPLIT_FILES = {"train": "train.txt", "validation": "dev.txt", "test": "test.txt"}
PROTOCOLS = {"hoc-blurb": "f1_micro", "hoc-blue": "f1_blue", "hoc-sentence": "f1_micro"}  # name -> official metric
LONGEST_LABEL_SHOWN = 40  # characters in a message


@dataclass(frozen=True)
class Abstract:
    """One document.

    Attributes:
        pmid: Its PubMed id.
        sentences: Its sentences, without white space around them.
        targets: (n_sentences, n_labels) of 0 and 1.
    """

    pmid: str
    sentences: Sequence[str]
    targets: NDArray[np.int8]


def read_hoc(protocol: str, path: Path | None) -> Corpus:
    """Read HoC under a protocol.

    * ``hoc-blurb`` has all documents, and ``hoc-blue`` the labelled documents of the same splits. The text of a
      document is its sentences, one per line; they are its segments too.
    * ``hoc-sentence`` has every sentence as an item with the id ``PMID#n``, n from 1. Sentences are in the split of
      their document.

    Args:
        protocol: One of :data:`PROTOCOLS`.
        path: Folder with ``text/`` and ``labels/``, and ``splits/`` if the published splits are not to be used.

    Raises:
        DataError: If the folder, a file or a split list is missing or malformed; names the PMIDs at fault.
    """
    root = _root(path)
    abstracts = {name: _read_abstracts(root, pmids) for name, pmids in _read_splits(root).items()}
    notes: tuple[str, ...] = ()
    if protocol == "hoc-sentence":
        splits = {name: _sentences(group) for name, group in abstracts.items()}
    else:
        if protocol == "hoc-blue":
            abstracts = {name: [a for a in group if a.targets.any()] for name, group in abstracts.items()}
            notes = ("labelled documents of the BLURB splits; the exact documents of BLUE may differ",)
        splits = {name: _documents(group) for name, group in abstracts.items()}
    return Corpus(protocol, HALLMARKS, splits, PROTOCOLS[protocol], notes)


def _root(path: Path | None) -> Path:
    if path is None:
        raise DataError(
            "HoC needs data.path, the folder with its text/ and labels/; kdh-ray corpus fetch hoc DEST gets it"
        )
    path = path.expanduser()
    for folder in ("text", "labels"):
        if not (path / folder).is_dir():
            raise DataError(f"{path}: a folder with HoC's text/ and labels/ is expected; found no {folder}/")
    return path


def _read_splits(root: Path) -> dict[str, list[str]]:
    """Read the PMIDs of each split from ``root/splits`` if it exists, else from the published lists shipped here."""
    folder: Traversable = root / "splits" if (root / "splits").is_dir() else files("kdh_ray.data") / "hoc_splits"
    splits = {name: _read_text(folder / file).split() for name, file in SPLIT_FILES.items()}
    counts = Counter(pmid for pmids in splits.values() for pmid in pmids)
    repeated = [pmid for pmid, count in counts.items() if count > 1]
    if repeated:
        raise DataError(f"{folder}: a PMID belongs to one split, once; repeated: {listing(repeated, 'PMID')}")
    missing = [pmid for pmid in counts if not (root / "text" / f"{pmid}.txt").is_file()]
    if missing:
        raise DataError(f"{root}/text: lacks files of the split lists: {listing(missing, 'PMID')}")
    return splits


def _read_abstracts(root: Path, pmids: Iterable[str]) -> list[Abstract]:
    return [_read_abstract(root, pmid) for pmid in pmids]


def _read_abstract(root: Path, pmid: str) -> Abstract:
    lines = _read_text(root / "text" / f"{pmid}.txt").split(
        "\n"
    )  # sentences hold U+2028, at which splitlines would split
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise DataError(f"{root}/text: PMID {pmid} is empty")
    before, *fields = _read_text(root / "labels" / f"{pmid}.txt").split("<")
    if before.strip():
        raise DataError(f"{root}/labels: PMID {pmid} must start with '<'")
    if len(fields) != len(sentences):
        raise DataError(
            f"{root}: PMID {pmid} has {len(sentences)} sentences in text/ and {len(fields)} label fields in labels/; "
            "each sentence needs one"
        )
    targets = np.zeros((len(fields), len(HALLMARKS)), dtype=np.int8)
    for row, label_field in enumerate(fields):
        targets[row, _label_columns(label_field, f"{root}/labels: PMID {pmid}, sentence {row + 1}")] = 1
    return Abstract(pmid, sentences, targets)


def _label_columns(label_field: str, source: str) -> list[int]:
    """Return the columns of the hallmarks in a sentence's field; ``source`` names it in messages."""
    names = {label.split("--")[0].strip() for label in label_field.split("AND")} - {"", "NULL"}
    unknown = sorted(names - set(HALLMARKS))
    if unknown:
        received = unknown[0][:LONGEST_LABEL_SHOWN]
        raise DataError(f"{source}: a label starts with one of the ten hallmarks; got {received!r}")
    return sorted(HALLMARKS.index(name) for name in names)


def _documents(abstracts: Sequence[Abstract]) -> Split:
    spans = []  # (n_sentences, 2) character ranges per document
    for abstract in abstracts:
        # Each sentence ends before its line break.
        ends = np.cumsum([len(sentence) + 1 for sentence in abstract.sentences]) - 1
        starts = ends - [len(sentence) for sentence in abstract.sentences]
        spans.append(np.stack([starts, ends], axis=1).astype(np.int32))
    return Split(
        ids=[abstract.pmid for abstract in abstracts],
        texts=["\n".join(abstract.sentences) for abstract in abstracts],
        targets=_stack([abstract.targets.max(axis=0, keepdims=True) for abstract in abstracts]),
        segments=Segments(spans, [abstract.targets for abstract in abstracts]),
    )


def _sentences(abstracts: Sequence[Abstract]) -> Split:
    return Split(
        ids=[f"{abstract.pmid}#{n + 1}" for abstract in abstracts for n in range(len(abstract.sentences))],
        texts=[sentence for abstract in abstracts for sentence in abstract.sentences],
        targets=_stack([abstract.targets for abstract in abstracts]),
    )


def _stack(targets: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    return np.concatenate(targets) if targets else np.zeros((0, len(HALLMARKS)), dtype=np.int8)


def _read_text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: must be UTF-8; byte {error.start} is not") from None
