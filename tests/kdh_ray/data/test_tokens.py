from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdh_ray.data import Corpus
from kdh_ray.data.tokens import tokenize, trailing_specials
from kdh_ray.models.encoders import load_tokenizer


def test_each_token_belongs_to_the_segment_it_stands_in(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["train"], load_tokenizer(str(encoder))
    tokens = tokenize(split, tokenizer, 48)
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
    tokens = tokenize(split, PreTrainedTokenizerFast(tokenizer_object=trained), 200)
    assert split.segments is not None
    for i, spans in enumerate(split.segments.spans):
        part = slice(tokens.offsets[i], tokens.offsets[i + 1])
        sentences = ["".join(map(trained.id_to_token, tokens.ids[part][tokens.segments[part] == n])) for n in range(3)]
        assert [text.lstrip("Ġ") for text in sentences] == [split.texts[i][a:b].replace(" ", "Ġ") for a, b in spans]


def test_documents_are_cut_at_the_maximum(corpus: Corpus, encoder: Path) -> None:
    tokens = tokenize(corpus.splits["train"], load_tokenizer(str(encoder)), 9)
    assert tokens.lengths.max() == 9


def test_the_cache_gives_back_the_same_tokens(corpus: Corpus, encoder: Path, tmp_path: Path) -> None:
    made, read = (tokenize(corpus.splits["test"], load_tokenizer(str(encoder)), 48, tmp_path) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1
    for name in ("ids", "segments", "offsets"):
        np.testing.assert_array_equal(getattr(made, name), getattr(read, name))
    assert made.fingerprint == read.fingerprint


@pytest.mark.parametrize("left", [0, 100, -1])
def test_tokens_of_which_only_a_part_is_left_are_made_again(
    corpus: Corpus, encoder: Path, tmp_path: Path, left: int
) -> None:
    made = tokenize(corpus.splits["test"], load_tokenizer(str(encoder)), 48, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    again = tokenize(corpus.splits["test"], load_tokenizer(str(encoder)), 48, tmp_path)
    np.testing.assert_array_equal(made.ids, again.ids)
    assert file.read_bytes() == whole


def test_a_changed_text_length_segment_or_tokenizer_is_another_entry(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["test"], load_tokenizer(str(encoder))
    assert split.segments is not None
    spans = [split.segments.spans[0][:1], *split.segments.spans[1:]]
    other = load_tokenizer(str(encoder))
    other.add_tokens(["zeta"])
    fingerprints = {
        tokenize(split, tokenizer, 48).fingerprint,
        tokenize(split, tokenizer, 47).fingerprint,
        tokenize(replace(split, texts=["new text", *split.texts[1:]]), tokenizer, 48).fingerprint,
        tokenize(replace(split, segments=replace(split.segments, spans=spans)), tokenizer, 48).fingerprint,
        tokenize(split, other, 48).fingerprint,
    }
    assert len(fingerprints) == 5


def test_calling_the_tokenizer_does_not_change_the_fingerprint(corpus: Corpus, encoder: Path) -> None:
    tokenizer = load_tokenizer(str(encoder))
    first = tokenize(corpus.splits["test"], tokenizer, 48).fingerprint
    tokenizer("some text", truncation=True, max_length=5, padding="max_length")
    assert tokenize(corpus.splits["test"], tokenizer, 48).fingerprint == first


def test_an_empty_split_has_no_tokens(corpus: Corpus, encoder: Path) -> None:
    tokens = tokenize(corpus.splits["test"].take([]), load_tokenizer(str(encoder)), 48)
    assert len(tokens) == 0


def test_cut_tokens_are_those_of_a_shorter_maximum(corpus: Corpus, encoder: Path) -> None:
    split, tokenizer = corpus.splits["train"], load_tokenizer(str(encoder))
    tail = trailing_specials(tokenizer)
    assert tail == 1
    for most in (9, 14, 60):
        cut, made = tokenize(split, tokenizer, 48).cut(most, tail), tokenize(split, tokenizer, min(most, 48))
        for name in ("ids", "segments", "offsets"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(made, name))
