from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.data import Corpus
from kdh_ray.data.tokens import Tokens, tokenize
from kdh_ray.models.encoders import load_tokenizer


def test_each_token_belongs_to_the_segment_it_stands_in(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["train"], load_tokenizer(str(encoder))
    tokens = tokenize(split.annotated(), tokenizer)
    assert split.segments is not None
    for i in range(len(split)):
        part = slice(tokens.offsets[i], tokens.offsets[i + 1])
        for number, (begin, end) in enumerate(split.segments.spans[i]):
            words = tokenizer.decode(tokens.ids[part][tokens.segments[part] == number])
            assert words.replace(" .", ".") == split.texts[i][begin:end].replace(" .", ".")
        assert list(tokens.segments[part][[0, -1]]) == [-1, -1]  # [CLS] and [SEP]


def test_a_word_with_the_space_before_it_belongs_to_its_segment(corpus: Corpus) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    split = corpus.splits["train"]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # as ModernBERT's
    trained.train_from_iterator(split.texts, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    tokens = tokenize(split.annotated(), PreTrainedTokenizerFast(tokenizer_object=trained))
    assert split.segments is not None
    for i, spans in enumerate(split.segments.spans):
        part = slice(tokens.offsets[i], tokens.offsets[i + 1])
        sentences = ["".join(map(trained.id_to_token, tokens.ids[part][tokens.segments[part] == n])) for n in range(3)]
        assert [text.lstrip("Ġ") for text in sentences] == [split.texts[i][a:b].replace(" ", "Ġ") for a, b in spans]


def test_documents_are_cut_at_the_maximum(corpus: Corpus, encoder: Path) -> None:
    tokens = tokenize(corpus.splits["train"].raw(), load_tokenizer(str(encoder))).cut(9)
    assert tokens.lengths.max() == 9


def test_the_cache_gives_back_the_same_tokens(corpus: Corpus, encoder: Path, tmp_path: Path) -> None:
    made, read = (tokenize(corpus.splits["test"].annotated(), load_tokenizer(str(encoder)), tmp_path) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1
    for name in ("ids", "segments", "offsets"):
        np.testing.assert_array_equal(getattr(made, name), getattr(read, name))
    assert made.fingerprint == read.fingerprint


@pytest.mark.parametrize("left", [0, 100, -1])
def test_tokens_of_which_only_a_part_is_left_are_made_again(
    corpus: Corpus, encoder: Path, tmp_path: Path, left: int
) -> None:
    made = tokenize(corpus.splits["test"].annotated(), load_tokenizer(str(encoder)), tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    again = tokenize(corpus.splits["test"].annotated(), load_tokenizer(str(encoder)), tmp_path)
    np.testing.assert_array_equal(made.ids, again.ids)
    assert file.read_bytes() == whole


def test_a_changed_text_length_segment_or_tokenizer_is_another_entry(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["test"], load_tokenizer(str(encoder))
    assert split.segments is not None
    spans = [split.segments.spans[0][:1], *split.segments.spans[1:]]
    texts, other = split.annotated(), load_tokenizer(str(encoder))
    other.add_tokens(["zeta"])
    fingerprints = {
        tokenize(texts, tokenizer).fingerprint,
        tokenize(texts, tokenizer).cut(47).fingerprint,
        tokenize(texts, tokenizer).windows(47, 8).fingerprint,
        tokenize(replace(texts, texts=["new text", *split.texts[1:]]), tokenizer).fingerprint,
        tokenize(replace(texts, spans=spans), tokenizer).fingerprint,
        tokenize(texts, other).fingerprint,
    }
    assert len(fingerprints) == 6


def test_calling_the_tokenizer_does_not_change_the_fingerprint(corpus: Corpus, encoder: Path) -> None:
    tokenizer = load_tokenizer(str(encoder))
    first = tokenize(corpus.splits["test"].raw(), tokenizer).fingerprint
    tokenizer("some text", truncation=True, max_length=5, padding="max_length")
    assert tokenize(corpus.splits["test"].raw(), tokenizer).fingerprint == first


def test_an_empty_split_has_no_tokens(corpus: Corpus, encoder: Path) -> None:
    tokens = tokenize(corpus.splits["test"].take([]).raw(), load_tokenizer(str(encoder)))
    assert len(tokens) == 0


def test_cut_equals_the_tokenizers_truncation(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["train"], load_tokenizer(str(encoder))
    tokens = tokenize(split.annotated(), tokenizer)
    assert (tokens.head, tokens.tail) == (1, 1)
    for most in (9, 14, 60):
        truncated = tokenizer(list(split.texts), truncation=True, max_length=most)["input_ids"]
        cut = tokens.cut(most)
        np.testing.assert_array_equal(cut.ids, np.concatenate(truncated))
        np.testing.assert_array_equal(cut.lengths, [len(ids) for ids in truncated])


def test_cutting_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = make_tokens([3, 30, 0, 12, 9])
    whole = tokens.cut(8)
    monkeypatch.setattr("kdh_ray.data.tokens._ROWS_PER_CUT", 2)
    pieces = tokens.cut(8)
    np.testing.assert_array_equal(pieces.ids, whole.ids)
    np.testing.assert_array_equal(pieces.segments, whole.segments)
    assert tokens.cut(32).ids is tokens.ids  # nothing is longer


def test_tokens_on_the_disk_equal_those_in_memory(corpus: Corpus, encoder: Path, tmp_path: Path) -> None:
    texts, tokenizer = corpus.splits["train"].annotated(), load_tokenizer(str(encoder))
    stored, made = tokenize(texts, tokenizer, tmp_path, batch=5), tokenize(texts, tokenizer, batch=7)
    for name in ("ids", "segments", "offsets"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(made, name))
    assert not stored.ids.flags.owndata  # mapped
    assert [file.suffix for file in tmp_path.iterdir()] == [".arrow"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(4, 12), st.integers(0, 9))
def test_windows_cover_every_token_in_order(lengths: list[int], most: int, overlap: int) -> None:
    whole = make_tokens(lengths)
    windows = whole.windows(most, overlap)
    assert windows.lengths.max() <= max(most, 3)
    assert windows.n_documents == len(lengths)
    for document, length in enumerate(lengths):
        rows = np.flatnonzero(windows.documents == document)
        assert len(rows) == 1 or length + 2 > most
        parts = [windows.ids[windows.offsets[row] : windows.offsets[row + 1]] for row in rows]
        assert all(part[0] == 1 and part[-1] == 2 for part in parts)  # the special tokens of a whole row
        inner = [part[1:-1].tolist() for part in parts]
        assert sorted({token for part in inner for token in part}) == list(range(100, 100 + length))
        assert all(len(part) == len(inner[0]) for part in inner[:-1])


def test_short_documents_are_their_own_window() -> None:
    whole = make_tokens([3, 0, 6])
    windows = whole.windows(8, 4)
    np.testing.assert_array_equal(windows.ids, whole.ids)
    np.testing.assert_array_equal(windows.documents, [0, 1, 2])


def make_tokens(lengths: list[int]) -> Tokens:
    """Return documents of the tokens 100, 101, ... between the special tokens 1 and 2."""
    ids = [np.array([1, *range(100, 100 + length), 2], dtype=np.int32) for length in lengths]
    flat = np.concatenate(ids)
    offsets = np.cumsum([0, *map(len, ids)]).astype(np.int64)
    return Tokens(flat, np.full(len(flat), -1, np.int32), offsets, "made", 1, 1, np.arange(len(lengths)))
