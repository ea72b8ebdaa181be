"""The reader of Hallmarks of Cancer, on an invented corpus in its layout and, where available, on the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hoc_files import REAL, write_abstract, write_hoc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdh_ray.data import Corpus, Split, load_corpus
from kdh_ray.data.hoc import HALLMARKS
from kdh_ray.errors import DataError

needs_hoc = pytest.mark.skipif(not (REAL / "text").is_dir(), reason="HoC is not here; set KDH_RAY_HOC to its folder")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_hoc(tmp_path / "hoc")


def sizes(corpus: Corpus) -> list[int]:
    return [len(corpus.splits[name]) for name in ("train", "validation", "test")]


def names(corpus: Corpus, split: Split, id_: str) -> set[str]:
    return {corpus.labels[column] for column in np.flatnonzero(split.targets[list(split.ids).index(id_)])}


def test_document_has_the_labels_of_its_sentences(root: Path) -> None:
    corpus = load_corpus("hoc-blurb", root)
    train = corpus.splits["train"]
    assert tuple(corpus.labels) == HALLMARKS
    assert sizes(corpus) == [22, 22, 22]
    assert names(corpus, train, "1000") == {HALLMARKS[0], HALLMARKS[1]}
    assert names(corpus, train, "1005") == {HALLMARKS[5]}
    assert names(corpus, train, "1010") == set()


def test_segments_are_the_sentences(root: Path) -> None:
    split = load_corpus("hoc-blurb", root).splits["validation"]
    assert split.segments is not None
    spans, targets = split.segments.spans[0], split.segments.targets[0]
    assert [split.texts[0][a:b] for a, b in spans] == [
        "Opening of 2000 .",
        "Mäuse were studied in 2000 .",
        "End\u2028of 2000 .",
    ]
    assert split.texts[0] == "Opening of 2000 .\nMäuse were studied in 2000 .\nEnd\u2028of 2000 ."
    assert targets.sum(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(targets.max(axis=0), split.targets[0])


def test_blue_leaves_out_unlabelled_documents(root: Path) -> None:
    corpus = load_corpus("hoc-blue", root)
    assert sizes(corpus) == [20, 20, 20]
    assert corpus.metric == "f1_blue"
    assert "1010" not in corpus.splits["train"].ids


def test_sentences_are_in_their_documents_split(root: Path) -> None:
    corpus = load_corpus("hoc-sentence", root)
    assert sizes(corpus) == [66, 66, 66]
    assert list(corpus.splits["train"].ids[:4]) == ["1000#1", "1000#2", "1000#3", "1001#1"]
    assert names(corpus, corpus.splits["test"], "3000#2") == {HALLMARKS[0]}
    assert corpus.splits["test"].segments is None


def test_sentence_sample_takes_whole_documents(tmp_path: Path) -> None:
    root = write_hoc(tmp_path, per_split=88)
    sample = load_corpus("hoc-sentence", root, size="small").splits["train"]
    assert all(count == 3 for count in np.unique([id_.split("#")[0] for id_ in sample.ids], return_counts=True)[1])
    assert len(sample) == pytest.approx(66, rel=0.2)


def test_published_splits_are_the_default(tmp_path: Path) -> None:
    root = write_hoc(tmp_path, splits=False)
    with pytest.raises(DataError, match=r"lacks files of the split lists: 1852 PMIDs, first '\d+'"):
        load_corpus("hoc-blurb", root)


def test_counts_that_differ_name_the_pmid(root: Path) -> None:
    write_abstract(root, "2003", ["One .", "Two ."], [" ", " ", " "])
    with pytest.raises(DataError, match="PMID 2003 has 2 sentences in text/ and 3 label fields"):
        load_corpus("hoc-blurb", root)


def test_unknown_hallmark_names_pmid_and_sentence(root: Path) -> None:
    write_abstract(root, "2003", ["One .", "Two ."], [" ", "Having fun--Often"])
    with pytest.raises(DataError, match=r"PMID 2003, sentence 2: .* got 'Having fun'"):
        load_corpus("hoc-blurb", root)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text/2003.txt", b"\n \n", "PMID 2003 is empty"),
        ("text/2003.txt", b"Caf\xe9 .\n", "must be UTF-8; byte 3 is not"),
        ("labels/2003.txt", b"NULL", "PMID 2003 must start with '<'"),
        ("labels/2003.txt", b"", "3 sentences in text/ and 0 label fields"),
        ("splits/dev.txt", b"2000\n1000\n", "repeated: PMID '1000'"),
        ("splits/dev.txt", b"2000\n2000\n", "repeated: PMID '2000'"),
        ("splits/dev.txt", b"2000\n77\n", "lacks files of the split lists: PMID '77'"),
        ("splits/dev.txt", b"", "split 'validation' has no document"),
    ],
)
def test_malformed_files_are_named(root: Path, name: str, content: bytes, said: str) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_corpus("hoc-blurb", root)
    assert said in str(caught.value)


@pytest.mark.parametrize("absent", ["text", "labels", "labels/2003.txt", "splits/test.txt"])
def test_missing_parts_are_named(root: Path, absent: str) -> None:
    (root / absent).rename(root / "elsewhere")
    with pytest.raises(DataError) as caught:
        load_corpus("hoc-blurb", root)
    assert absent in str(caught.value)


def test_path_is_needed() -> None:
    with pytest.raises(DataError, match=r"needs data\.path"):
        load_corpus("hoc-blurb")


def test_unknown_corpus_lists_the_known() -> None:
    with pytest.raises(DataError, match="hoc-blurb, hoc-blue, hoc-sentence, table; got 'hoc'"):
        load_corpus("hoc")


# A sentence is a line, and a carriage return ends one too, as it does in files written on Windows.
sentence = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=20).filter(
    lambda text: text.strip()
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.tuples(sentence, st.sets(st.integers(0, 9))), min_size=1, max_size=4))
def test_any_abstract_is_read_as_written(root: Path, content: list[tuple[str, set[int]]]) -> None:
    fields = [" AND ".join(f"{HALLMARKS[column]}--x" for column in sorted(columns)) for _, columns in content]
    write_abstract(root, "1000", [text for text, _ in content], fields)
    split = load_corpus("hoc-blurb", root).splits["train"]
    assert split.segments is not None
    assert [split.texts[0][a:b] for a, b in split.segments.spans[0]] == [text.strip() for text, _ in content]
    read = [set(np.flatnonzero(row).tolist()) for row in split.segments.targets[0]]
    assert read == [columns for _, columns in content]


@needs_hoc
@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("hoc-blurb", [1295, 186, 371]), ("hoc-blue", [1098, 164, 318]), ("hoc-sentence", [12119, 1798, 3547])],
)
def test_real_corpus_has_the_published_sizes(protocol: str, expected: list[int]) -> None:
    """BLUE's own 1108/157/315 documents are unknown; the labelled ones of BLURB's splits add up to as many."""
    assert sizes(load_corpus(protocol, REAL)) == expected


@needs_hoc
def test_real_corpus_has_272_unlabelled_abstracts() -> None:
    corpus = load_corpus("hoc-blurb", REAL)
    assert sum(int((split.targets.sum(axis=1) == 0).sum()) for split in corpus.splits.values()) == 272


@needs_hoc
def test_real_samples_nest() -> None:
    small, medium, large = (load_corpus("hoc-blurb", REAL, size=size) for size in ("small", "medium", "large"))
    ids = [set(corpus.splits["train"].ids) for corpus in (small, medium, large)]
    assert ids[0] < ids[1] < ids[2]
    assert [len(part) for part in ids] == pytest.approx([324, 648, 1295], rel=0.02)
    np.testing.assert_allclose(
        small.splits["train"].targets.mean(axis=0), large.splits["train"].targets.mean(axis=0), atol=0.01
    )
