"""The one way from a raw text to labels, probabilities and evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import processors

import kdh_ray
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.errors import DataError
from kdh_ray.inference.classifier import TextClassifier, load_classifier
from kdh_ray.models.checkpoint import Card, build_classifier, load_card, save_card, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer

LABELS = ["alpha", "beta", "gamma"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("classifier") / "checkpoint"
    card = Card(LABELS, [0.0, 0.5, 0.5], max_tokens=16, segments=True, corpus={}).reads(Reading(16, Segmenter(), 4))
    save_checkpoint(folder, build_classifier(str(encoder), 3, True, 0.0), load_tokenizer(str(encoder)), card)
    return folder


@pytest.fixture(scope="module")
def classifier(checkpoint: Path) -> TextClassifier:
    return load_classifier(checkpoint, precision="float32")


def test_the_face_loads_a_classifier(checkpoint: Path) -> None:
    prediction = kdh_ray.load_classifier(checkpoint).predict(["the cell shows alpha ."])
    assert prediction.probabilities.shape == (1, 3)
    assert "alpha" in prediction.labels[0]


def test_a_text_is_independent_of_its_neighbours(classifier: TextClassifier) -> None:
    texts = ["alpha growth .", "the cell . beta shows growth . early disease .", "", "gamma " * 50]
    together = classifier.predict(texts, batch_size=2).probabilities
    for row, text in enumerate(texts):
        np.testing.assert_allclose(together[row], classifier.predict([text]).probabilities[0], atol=1e-6)
    assert np.isfinite(together).all()


def test_evidence_is_the_strongest_part(classifier: TextClassifier) -> None:
    text = "The cell shows growth. Alpha in patients. With early disease."
    prediction = classifier.predict([text])
    begin, end = prediction.evidence[0]["alpha"]
    assert prediction.spans is not None
    assert prediction.logits.segments is not None
    sentences = [text[a:b] for a, b in prediction.spans[0]]
    assert sentences == ["The cell shows growth.", "Alpha in patients.", "With early disease."]
    assert text[begin:end] == sentences[int(np.argmax(prediction.logits.segments[0][:, 0]))]


def test_an_empty_text_has_no_evidence(classifier: TextClassifier) -> None:
    prediction = classifier.predict(["", " "])
    assert prediction.evidence == [{}, {}]
    assert np.isfinite(prediction.probabilities).all()


def test_a_blank_text_has_no_labels(classifier: TextClassifier) -> None:
    labels = classifier.predict(["", " \n\t", "Alpha."]).labels  # alpha's threshold is 0
    assert labels[:2] == [[], []]
    assert "alpha" in labels[2]


def test_a_probability_at_its_threshold_is_a_label(classifier: TextClassifier) -> None:
    texts = ["alpha growth ."]
    thresholds = classifier.predict(texts).probabilities[0]
    for factor, labels in ((1.0, LABELS), (1.000001, [])):
        same = TextClassifier(
            classifier.model, classifier.tokenizer, LABELS, (factor * thresholds).tolist(), classifier.reading
        )
        assert same.predict(texts).labels == [labels]


def test_a_blank_text_has_numbers_without_special_tokens(checkpoint: Path, classifier: TextClassifier) -> None:
    from transformers import PreTrainedTokenizerFast

    backend = load_tokenizer(str(checkpoint)).backend_tokenizer
    backend.post_processor = processors.Sequence([])  # as tokenizers of decoders have it: no [CLS], no [SEP]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    bare = TextClassifier(classifier.model, tokenizer, LABELS, [0.5] * 3, classifier.reading)
    texts = ["", "alpha growth .", " ", "beta"]
    together = bare.predict(texts).probabilities
    assert np.isfinite(together).all()
    for row, text in enumerate(texts):
        np.testing.assert_allclose(together[row], bare.predict([text]).probabilities[0], atol=1e-6)


def test_the_end_of_a_long_text_counts(classifier: TextClassifier) -> None:
    filler = "The cell shows growth. " * 40
    logits = classifier.predict([filler, filler + "Alpha beta gamma."]).logits
    assert not np.allclose(logits.documents[0], logits.documents[1])
    assert logits.segments is not None
    assert len(logits.segments[1]) == 41
    assert np.isfinite(logits.segments[1]).all()


@pytest.mark.parametrize("combine", ["max", "mean"])
def test_windows_combine_as_the_card_says(checkpoint: Path, combine: str, tmp_path: Path) -> None:
    classifier = TextClassifier.load(checkpoint)
    whole = Reading(16, Segmenter("none"), 0, combine)  # type: ignore[arg-type]
    classifier.reading = whole
    words = ["cell"] * 14 + ["alpha"] * 14
    first, second = (classifier.predict([" ".join(part)]).logits.documents[0] for part in (words[:14], words[14:]))
    both = classifier.predict([" ".join(words)]).logits.documents[0]
    expected = np.maximum(first, second) if combine == "max" else (first + second) / 2
    np.testing.assert_allclose(both, expected, atol=1e-5)


def test_a_hundred_thousand_words_are_read(classifier: TextClassifier) -> None:
    prediction = classifier.predict(["the cell shows growth . " * 20_000])
    assert np.isfinite(prediction.probabilities).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "put it into a list"),
        (["fine", None], "must be a string; got NoneType at position 1"),
        (None, "sequence of texts, .* got NoneType"),
        (pd.DataFrame({"text": ["fine"]}), "sequence of texts, .* got DataFrame"),
        ({"text": "fine"}, "sequence of texts, .* got dict"),
        (["fine", "a\ud800"], "text 1 holds half a surrogate pair"),
    ],
)
def test_what_is_not_text_is_refused(classifier: TextClassifier, texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        classifier.predict(texts)


def test_no_texts_give_no_rows(classifier: TextClassifier) -> None:
    prediction = classifier.predict([])
    assert prediction.probabilities.shape == (0, 3)
    assert prediction.labels == []
    assert prediction.evidence == []


def test_a_frame_has_a_row_per_text(classifier: TextClassifier) -> None:
    frame = classifier.predict(["alpha", "beta"]).frame()
    assert frame.columns.tolist() == ["labels", *(f"probability.{label}" for label in LABELS)]
    assert len(frame) == 2


def test_old_checkpoints_read_sentences(checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "old")
    save_card(tmp_path / "old", replace(load_card(checkpoint), segmenter=None, windows=None))
    old = load_classifier(tmp_path / "old")
    assert old.card is not None
    assert not old.card.tuned_on_raw_text
    assert old.reading.segmenter.rule == "sentences"
