"""kdh-runtime reads and labels a text exactly as the original classifier does."""

from __future__ import annotations

from pathlib import Path

import kdh_runtime
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kdh_runtime.folder import Config
from kdh_runtime.text import Reader, Window
from tokenizers import Tokenizer

from kdh_ray.data.corpus import Texts
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Rule, Segmenter
from kdh_ray.inference.classifier import TextClassifier, load_classifier
from kdh_ray.models.encoders import load_tokenizer

WORDS = st.sampled_from(
    ["alpha", "beta", "cell", "growth", ".", "!", "?", "\n", "\r\n", "\n\n", "Dr.", "[SEP]", "[CLS]", "\t", "\u00a0",
     "\u200b", "é", "e\u0301", "中文。", "😀", "\u2028", "\x00", "ß", "İ", "x" * 40, "...", "1.5 mg."]
)  # fmt: skip
WILD = st.one_of(st.lists(WORDS, max_size=60).map(" ".join), st.lists(WORDS, max_size=20).map("".join), st.text())
FIXED = [
    "",
    " ",
    "\n",
    "alpha",
    "the cell . alpha growth in patients . " * 30,
    "alpha\nbeta\r\n\ngamma",
    "\ufeffalpha .",
]


@pytest.fixture(scope="module")
def original(checkpoint: Path) -> TextClassifier:
    return load_classifier(checkpoint, precision="float32")


@pytest.fixture(scope="module")
def runtime(exported: Path) -> kdh_runtime.Classifier:
    return kdh_runtime.load(exported, threads=1)


def compare(original: TextClassifier, runtime: kdh_runtime.Classifier, texts: list[str]) -> None:
    expected, received = original.predict(texts), runtime.predict(texts)
    np.testing.assert_allclose(received.logits, expected.logits.documents, atol=1e-4)
    np.testing.assert_allclose(received.probabilities, expected.probabilities, atol=1e-5)
    near = np.abs(expected.probabilities - original.thresholds) < 1e-5
    assert received.label_names == expected.label_names
    for row in range(len(texts)):
        if not near[row].any():
            assert received.labels[row] == expected.labels[row]
            assert received.evidence[row] == expected.evidence[row]


def test_fixed_texts_get_the_same_answer(original: TextClassifier, runtime: kdh_runtime.Classifier) -> None:
    compare(original, runtime, FIXED)
    assert runtime.predict([]).probabilities.shape == (0, 3)


def test_a_text_without_tokens_has_numbers(runtime: kdh_runtime.Classifier) -> None:
    empty = Window(0, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 0)
    assert np.isfinite(runtime._graph(runtime._inputs([empty]))[0]).all()


def test_texts_read_whole_get_the_same_answer(whole_checkpoint: Path, whole_exported: Path) -> None:
    compare(load_classifier(whole_checkpoint, precision="float32"), kdh_runtime.load(whole_exported), FIXED)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(WILD, max_size=4))
def test_wild_texts_get_the_same_answer(
    original: TextClassifier, runtime: kdh_runtime.Classifier, texts: list[str]
) -> None:
    compare(original, runtime, texts)


@pytest.mark.parametrize("rule", ["sentences", "lines", "none"])
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(WILD, min_size=1, max_size=3),
    max_tokens=st.integers(3, 40),
    overlap=st.integers(0, 30),
)
def test_windows_of_wild_texts_are_the_same(
    encoder: Path, rule: Rule, texts: list[str], max_tokens: int, overlap: int
) -> None:
    tokenizer = load_tokenizer(str(encoder))
    reading = Reading(max_tokens, Segmenter(rule), overlap)
    expected = reading.tokens(Texts.numbered(texts), tokenizer)
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    config = Config((), (), max_tokens, True, rule, "en", overlap, "max", 0, "", "float32")
    reader = Reader(plain, config)
    windows = reader.windows(texts, reader.spans(texts))
    assert [window.document for window in windows] == expected.documents.tolist()
    assert [len(window.ids) for window in windows] == expected.lengths.tolist()
    for row, window in enumerate(windows):
        tokens = slice(expected.offsets[row], expected.offsets[row + 1])
        assert window.ids.tolist() == expected.ids[tokens].tolist()
        segments = np.where(window.segments >= 0, window.segments + window.first_segment, -1)
        assert segments.tolist() == expected.segments[tokens].tolist()
