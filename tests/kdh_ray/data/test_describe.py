"""Descriptions of corpora, and ``kdh-ray corpus describe``, which prints them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hoc_files import write_hoc

from kdh_ray.cli.main import main
from kdh_ray.data import Corpus, Split
from kdh_ray.data.describe import describe, token_lengths


class Characters:
    """A tokenizer of one token a character, and two special ones."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0, *map(ord, text), 0] for text in texts]}


def corpus(train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Corpus:
    splits = {
        name: Split(
            [f"{name}-{n}" for n in range(len(texts))],
            texts,
            np.array([[1, n % 2] for n in range(len(texts))], dtype=np.int8),
        )
        for name, texts in (("train", train), ("validation", validation), ("test", test))
    }
    return Corpus("notes", ["pain", "fever"], splits)


def test_support_and_cooccurrence_are_counted() -> None:
    description = describe(corpus(["a", "b", "c"], ["d", "e"], ["f"]))
    assert [split.support.tolist() for split in description.splits] == [[3, 1], [2, 1], [1, 0]]
    assert description.cooccurrence.tolist() == [[6, 2], [2, 2]]


def test_lengths_and_truncation_are_counted() -> None:
    train = describe(corpus(["one", "one two", "one two three four"], ["a"], ["b"]), Characters(), 9).splits[0]  # type: ignore[arg-type]
    assert (train.words.median, train.words.longest) == (2, 4)
    assert train.tokens is not None
    assert (train.tokens.median, train.tokens.longest) == (9, 20)
    assert train.truncated == pytest.approx(1 / 3)


def test_batches_do_not_change_token_lengths() -> None:
    texts = ["x" * n for n in range(7)]
    assert token_lengths(texts, Characters(), batch=3).tolist() == [2, 3, 4, 5, 6, 7, 8]  # type: ignore[arg-type]


def test_same_text_in_two_splits_is_a_leak() -> None:
    description = describe(corpus(["Pain  at night.", "b"], ["c"], ["pain at\nnight. ", "d"]))
    assert [(found.earlier, found.later, found.ids) for found in description.duplicates] == [
        ("train", "test", ["test-0"])
    ]
    assert "leak: text of test document 'test-0' is in the train split too" in description.warnings


def test_repeats_within_a_split_are_no_leak() -> None:
    description = describe(corpus(["a", "A", "a "], ["b"], ["c"]))
    assert [(found.later, found.ids) for found in description.duplicates] == [("train", ["train-1", "train-2"])]
    assert not [warning for warning in description.warnings if warning.startswith("leak")]


def test_rare_labels_are_warned_of() -> None:
    warnings = describe(corpus(["a", "b", "c"], ["d"], ["e", "f"])).warnings
    assert "fewer than 10 documents of the train split with labels 'pain', 'fever'" in warnings
    assert "no document of the validation split with label 'fever'" in warnings


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["corpus", "describe", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_verb_prints_plain_lines_to_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--corpus", "hoc-blurb", "--path", str(write_hoc(tmp_path)))
    assert (code, err) == (0, "")
    assert "Corpus hoc-blurb: 66 documents, 10 labels" in out
    assert ["labelled", "parts", "66", "66", "66"] in [line.split() for line in out.splitlines()]
    assert "10 Tumor promoting inflammation" in out
    assert "No text is in two splits." in out
    assert out.isascii()
    assert "Opening" not in out


def test_verb_warns_of_leaks_by_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_hoc(tmp_path)
    (root / "text" / "3001.txt").write_bytes((root / "text" / "1001.txt").read_bytes())
    _, out, _ = run(capsys, "--corpus", "hoc-blurb", "--path", str(root))
    assert "warning: leak: text of test document '3001' is in the train split too" in out


def test_verb_shows_what_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["Pain;fever", "pain", "nan", ""]
    lines = ["text,labels"] + [f"note {n},{cells[n % 4]}" for n in range(80)]
    (tmp_path / "notes.csv").write_text("\n".join(lines))
    settings = ("--set", "data.labels_column=labels", "--set", "data.missing=negative")
    _, out, _ = run(capsys, "--path", str(tmp_path / "notes.csv"), *settings)
    assert "labels: fever, pain; 40 documents without any" in out
    assert "warning: column 'labels': cells with a missing value, read as no label: 20" in out
    assert "warning: labels are read in one spelling: 'Pain' as 'pain'" in out
    assert "have no label" not in out


def test_mostly_unlabelled_documents_are_warned_of() -> None:
    plain = corpus(["a", "b", "c"], ["d"], ["e"])
    for split in plain.splits.values():
        split.targets[:] = 0
    expected = "5 of 5 documents have no label; data.without_labels: drop leaves them out"
    assert expected in describe(plain).warnings


def test_verb_takes_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("data: {corpus: synthetic, documents: 100}\nstages: {teacher: {}}\n")
    assert "Corpus synthetic: 100 documents" in run(capsys, str(config))[1]
    assert "Corpus synthetic: 80 documents" in run(capsys, str(config), "--set", "data.documents=80")[1]


def test_verb_counts_tokens_like_the_first_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--corpus", "synthetic", "--set", "data.documents=60", "--max-tokens", "16")
    assert "cut at 16 tokens" in run(capsys, *arguments)[1]
    config = tmp_path / "run.yaml"
    config.write_text("data: {documents: 60}\nstages: {a: {start: ./nowhere}, b: {start: a}}\n")
    code, out, err = run(capsys, str(config))
    assert (code, err) == (0, "")
    assert "tokens are not counted: encoder './nowhere': no such folder" in out
    assert run(capsys, str(config), "--encoder", "./nowhere")[0] == 2


def test_verb_shows_pairs_of_many_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["text,labels"] + [f"note {n},l{n % 20};l{(n + 1) % 20}" for n in range(400)]
    (tmp_path / "notes.csv").write_text("\n".join(lines))
    _, out, _ = run(capsys, "--path", str(tmp_path / "notes.csv"), "--set", "data.labels_column=labels")
    assert "The 12 most frequent pairs of labels" in out
    assert ["l0,", "l1", "20"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs a configuration, or --corpus NAME"),
        (("--corpus", "hoc"), "corpus must be one of synthetic, hoc-blurb"),
        (("--corpus", "synthetic", "--max-tokens", "1"), "data.max_tokens"),
        (("--corpus", "synthetic", "--set", "data.sise=small"), "did you mean 'size'?"),
        (("--corpus", "table", "--path", "absent.csv", "--set", "data.labels_column=x"), "absent.csv: no such file"),
        (("--corpus", "synthetic", "--set", "data=5"), "data: must be a section of settings; got 5"),
        (("--corpus", "synthetic", "--set", "stages.unused.epochs=0"), "stages.unused.epochs: must be at least 1"),
        (("absent.yaml",), "absent.yaml: can't be read"),
    ],
)
def test_verb_refuses_in_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("kdh-ray: ")
    assert err.count("\n") == 1
