"""The model card: what the corpus and the classifier say of themselves, and what only people can say."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from exports import LABELS, THRESHOLDS

from kdh_ray.cli.main import main
from kdh_ray.config import parse_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.data.groups import read_groups
from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import score
from kdh_ray.export.licences import encoder_licence
from kdh_ray.export.model_card import OPEN
from kdh_ray.inference.classifier import load_classifier
from kdh_ray.models.checkpoint import load_card, save_card

SITES = ("north", "south", "south", "")  # of the test split's documents, in turn


@pytest.fixture
def config(tmp_path: Path, corpus: Corpus, encoder: Path) -> Path:
    """A configuration of a table with a site, next to a README that names its licence."""
    rows = []
    for name, split in corpus.splits.items():
        for i, (id_, text, targets) in enumerate(zip(split.ids, split.texts, split.targets, strict=True)):
            labels = dict(zip(LABELS, map(int, targets), strict=True))
            rows.append({"id": id_, "text": text, "split": name, "site": SITES[i % len(SITES)], **labels})
    (tmp_path / "table").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "table/notes.csv", index=False)
    (tmp_path / "table/README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    tree: dict[str, Any] = {
        "name": "small",
        "data": {"corpus": "table", "path": str(tmp_path / "table/notes.csv"), "id_column": "id",
                 "split_column": "split", "label_columns": LABELS},
        "stages": {"teacher": {"start": str(encoder)}, "student": {"start": "teacher", "teachers": ["teacher"]}},
        "precision": "float32",
    }  # fmt: skip
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return tmp_path / "my.yaml"


def card(checkpoint: Path, config: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["card", str(checkpoint), str(config), *options]) == 0
    return capsys.readouterr().out


def test_json_holds_scores_corpus_and_encoder(
    checkpoint: Path, config: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(card(checkpoint, config, capsys, "--json"))
    corpus = corpus_from_config(parse_config(yaml.safe_load(config.read_text())).data)
    test = corpus.splits["test"]
    probabilities = load_classifier(checkpoint, precision="float32").predict(test.texts).probabilities
    expected = score(test.targets, probabilities, THRESHOLDS)
    received = facts["evaluation"]["scores"]
    assert {name: each["value"] for name, each in received.items()} == pytest.approx(
        {name: expected[name] for name in received}
    )
    assert facts["evaluation"]["documents"] == len(test)
    assert facts["evaluation"]["calibration"]["brier"] == pytest.approx(np.mean((probabilities - test.targets) ** 2))
    assert [label["support"]["train"] for label in facts["labels"]] == corpus.splits["train"].targets.sum(0).tolist()
    assert [label["threshold"] for label in facts["labels"]] == THRESHOLDS
    assert facts["corpus"]["fingerprint"] == corpus.fingerprint()
    assert facts["corpus"]["documents"] == {name: len(split) for name, split in corpus.splits.items()}
    assert facts["corpus"]["licence"] == "cc-by-4.0"
    assert facts["encoder"] == {"source": encoder.name, "licence": None}  # no path of this machine
    assert all(topic["answer"] is None for topic in facts["open"])


def test_groups_have_their_own_scores(checkpoint: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(card(checkpoint, config, capsys, "--json", "--group-column", "site"))
    groups = facts["groups"]["groups"]
    assert [(group["group"], group["documents"]) for group in groups] == [("south", 12), ("(none)", 6), ("north", 6)]
    test = corpus_from_config(parse_config(yaml.safe_load(config.read_text())).data).splits["test"]
    rows = [i for i in range(len(test)) if SITES[i % len(SITES)] == "south"]
    probabilities = (
        load_classifier(checkpoint, precision="float32").predict([test.texts[i] for i in rows]).probabilities
    )
    assert groups[0]["f1_micro"]["value"] == pytest.approx(
        score(test.targets[rows], probabilities, THRESHOLDS)["f1_micro"]
    )
    assert groups[0]["f1_micro"]["low"] <= groups[0]["f1_micro"]["value"] <= groups[0]["f1_micro"]["high"]
    text = card(checkpoint, config, capsys, "--group-column", "site")
    assert "## Scores by site" in text
    assert "| south | 12 |" in text


def test_markdown_has_metadata_and_open_fields(
    checkpoint: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = card(checkpoint, config, capsys)
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["pipeline_tag"] == "text-classification"
    assert "language" not in metadata  # nobody said so
    assert "# language: to be filled in" in text
    assert not re.search(r"\d\.\d{5}", text)
    assert "license" not in metadata  # of the classifier: nobody has chosen one yet
    results = metadata["model-index"][0]["results"][0]
    assert results["dataset"]["split"] == "test"
    assert {metric["name"] for metric in results["metrics"]} == {"f1_micro", "f1_macro"}
    assert text.count(OPEN) == 5
    assert "- corpus: cc-by-4.0" in text
    assert "- encoder: not known here" in text
    assert not any(text_ in text for text_ in ("the cell shows", str(config.parent)))


def test_a_stated_language_is_on_the_card(
    checkpoint: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    own = load_card(copy)
    save_card(copy, replace(own, notes={**own.notes, "language": "de", "validation_f1_micro": 2 / 3}))
    text = card(copy, config, capsys)
    assert yaml.safe_load(text.split("---")[1])["language"] == "de"
    assert "to be filled in, such as" not in text
    assert "- validation f1 micro: 0.6667\n" in text


def test_another_state_of_the_corpus_is_named(
    checkpoint: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    own = load_card(copy)
    save_card(copy, replace(own, corpus={"name": "tiny", "fingerprint": "f" * 64}))
    assert "scored on another state of the corpus" in card(copy, config, capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-column", "ward"], "has no column 'ward'"),
        (["--group-column", "id"], "groups can't be texts or ids; got column 'id'"),
        (["--group-column", "text"], "groups can't be texts or ids; got column 'text'"),
        (["--set", "data.id_column=null", "--group-column", "id"], "must have at most 50 values to be groups; it has"),
    ],
)
def test_column_of_no_groups_is_refused(
    checkpoint: Path, config: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["card", str(checkpoint), str(config), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_corpus_without_columns_has_no_groups() -> None:
    with pytest.raises(DataError, match="groups are read from a column of a table; the corpus is synthetic"):
        read_groups(parse_config({"name": "a", "stages": {"teacher": {}}}).data, "site")


def test_licence_comes_from_metadata_only(tmp_path: Path) -> None:
    assert encoder_licence("embedded") == "apache-2.0"
    assert encoder_licence(str(tmp_path)) is None
    for content, licence in (("# no metadata", None), ("---\nlicense: mit\n---\n", "mit"), ("---\n[\n---\n", None),
                             ("---\nlicense: [a, b]\n---\n", None)):  # fmt: skip
        (tmp_path / "README.md").write_text(content)
        assert encoder_licence(str(tmp_path)) == licence
    assert encoder_licence("no/such/hub/name") is None
    assert encoder_licence("someone/unseen") is None


def test_export_writes_the_card(
    checkpoint: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Path, str]] = []
    monkeypatch.setattr("kdh_ray.export.hub.push_to_hub", lambda folder, name: sent.append((folder, name)) or "address")
    words = ["export", str(checkpoint), str(tmp_path / "out"), str(config), "--group-column", "site"]
    assert main(words) == 0
    assert not sent  # never by default
    text = (tmp_path / "out/README.md").read_text()
    assert "library_name: kdh-runtime" in text
    assert "## Check of the exported file" in text
    assert "## Scores by site" in text
    facts = json.loads((tmp_path / "out/model_card.json").read_text())
    assert facts["evaluation"]["documents"] == 24
    assert main([*words[:4], "--push-to-hub", "group/student"]) == 0
    assert sent == [(tmp_path / "out", "group/student")]
    assert "uploaded, address" in capsys.readouterr().out
