"""Unlabelled text: predicted by a teacher, learned from by a student."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdh_ray.config import parse_config
from kdh_ray.data import Corpus, corpus_from_config, load_corpus
from kdh_ray.data.prediction_files import PLAN
from kdh_ray.data.unlabelled import read_unlabelled
from kdh_ray.errors import DataError
from kdh_ray.inference import predict_files
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.training.stages import StageRunner

DOCUMENTS = 60  # of the labelled corpus


@pytest.fixture(scope="module")
def labelled() -> Corpus:
    return load_corpus("synthetic", documents=DOCUMENTS)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, encoder: Path, labelled: Corpus) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "checkpoint"
    model = build_classifier(str(encoder), len(labelled.labels), segments=True, dropout=0.0)
    card = Card(list(labelled.labels), [0.5] * len(labelled.labels), max_tokens=32, segments=True, corpus={})
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), card)
    return folder


def predicted(teacher: Path, folder: Path, texts: list[str], logits: bool = True, name: str = "out") -> str:
    pd.DataFrame({"text": texts}).to_json(folder / "more.jsonl", orient="records", lines=True)
    predict_files(teacher, str(folder / "more.jsonl"), folder / name, logits=logits, block=4, local=True)
    return str(folder / name)


def test_a_distillation_learns_from_predictions(teacher: Path, encoder: Path, tmp_path: Path) -> None:
    output = predicted(teacher, tmp_path, [f"the cell {'growth ' * i}" for i in range(10)])
    tree: dict[str, Any] = {
        "data": {"documents": DOCUMENTS, "max_tokens": 16, "unlabelled": [output, output]},
        "stages": {
            "plain": {"start": str(encoder), "epochs": 1},
            "student": {
                "start": str(encoder), "teachers": [str(teacher)], "epochs": 1,
                "loss": {"hidden_weight": 0.1, "class_weights": True},
            },
        },
    }  # fmt: skip
    config = parse_config(tree)
    corpus = corpus_from_config(config.data)
    runner = StageRunner(config, corpus, tmp_path / "run")
    count = len(corpus.splits["train"])
    assert len(runner.prepare("plain", config.stages["plain"]).train) == count
    train = runner.prepare("student", config.stages["student"]).train
    assert len(train) == count + 10
    assert np.isnan(train.targets[count:]).all()
    assert np.isfinite(train.targets[:count]).all()
    blocks = [pd.read_parquet(file) for file in sorted(Path(output).glob("block-*"))]
    logits = pd.concat(blocks)[[f"logit.{label}" for label in corpus.labels]]
    assert train.teacher is not None
    np.testing.assert_array_equal(train.teacher.documents[count:], logits)
    (report,) = runner.run("student")["history"]
    assert all(np.isfinite(value) for value in report["losses"].values())


def test_predictions_that_do_not_fit_are_refused(teacher: Path, labelled: Corpus, tmp_path: Path) -> None:
    texts = [f"the cell {i}" for i in range(6)]
    good = predicted(teacher, tmp_path, texts)

    def refused(folder: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_unlabelled([folder], labelled)

    assert len(read_unlabelled([good], labelled).texts) == 6
    refused(str(tmp_path), "is not an output of kdh-ray predict")
    refused(predicted(teacher, tmp_path, texts, logits=False, name="bare"), "holds no logits")
    plan = Path(good) / PLAN
    kept = plan.read_text()
    plan.write_text(json.dumps({**json.loads(kept), "labels": ["other"]}))
    refused(good, "must have the data's labels")
    plan.write_text(kept)
    (Path(good) / "block-000001.parquet").unlink()
    refused(good, "is unfinished: block-000001.parquet is missing")
    (tmp_path / "more.jsonl").write_text("{}")
    refused(good, "its size differs")


def test_held_out_texts_are_not_learned_from(teacher: Path, labelled: Corpus, tmp_path: Path) -> None:
    output = predicted(teacher, tmp_path, ["the cell", labelled.splits["test"].texts[0].upper()])
    with pytest.raises(DataError, match=r"1 texts are in the validation or test split \(first: more.jsonl#2\)"):
        read_unlabelled([output], labelled)


def test_texts_of_no_fold_are_learned_from(teacher: Path, labelled: Corpus, tmp_path: Path) -> None:
    output = predicted(teacher, tmp_path, ["fine", labelled.splits["train"].texts[3]])
    data = {"documents": DOCUMENTS, "unlabelled": [output]}
    stages = {"teacher": {"start": "embedded"}}
    alone = corpus_from_config(parse_config({"data": data, "stages": stages}).data)
    assert alone.unlabelled is not None
    with pytest.raises(
        DataError, match=r"1 texts are in the train or validation or test split \(first: more.jsonl#2\)"
    ):
        corpus_from_config(parse_config({"data": {**data, "folds": 3}, "stages": stages}).data)


def test_predictions_of_earlier_versions_teach(teacher: Path, labelled: Corpus, tmp_path: Path) -> None:
    output = Path(predicted(teacher, tmp_path, [f"the cell {i}" for i in range(6)]))
    now = tmp_path / "now"
    shutil.copytree(output, now)
    plan = {**json.loads((output / PLAN).read_text()), "format": 1}
    del plan["form"]
    (output / PLAN).unlink()
    (output / "plan.json").write_text(json.dumps(plan))
    for file in output.glob("*.parquet"):  # they counted documents from 0
        table = pd.read_parquet(file)
        number = table["id"].str.rpartition("#")[2].astype(int) - 1
        table.assign(id="more.jsonl#" + number.astype(str)).to_parquet(file)
    assert read_unlabelled([str(output)], labelled).texts.ids[-1] == "more.jsonl#5"
    assert read_unlabelled([str(now), str(output)], labelled).texts.ids[-1] == "more.jsonl#6"


def test_faulty_documents_do_not_teach(teacher: Path, labelled: Corpus, tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_text('{"text": "the cell"}\n{"text": null}\n{"text": "growth"}\n')
    predict_files(teacher, str(tmp_path / "some.jsonl"), tmp_path / "out", logits=True, local=True)
    unlabelled = read_unlabelled([str(tmp_path / "out")], labelled)
    assert list(unlabelled.texts.texts) == ["the cell", "growth"]
    assert np.isfinite(unlabelled.logits).all()
