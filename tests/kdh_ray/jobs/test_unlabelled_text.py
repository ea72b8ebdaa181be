"""Text without labels that a run predicts itself: with its own teachers, once, before a student learns from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdh_ray import load_classifier, load_corpus, load_runs, run
from kdh_ray.config import parse_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.data.corpus import Unlabelled
from kdh_ray.data.text_digest import text_digest
from kdh_ray.errors import DataError
from kdh_ray.events import Event, EventLog
from kdh_ray.export.facts import checkpoint_facts
from kdh_ray.export.model_card import model_card
from kdh_ray.jobs import unlabelled
from kdh_ray.jobs.on_ray import _parts
from kdh_ray.jobs.plan import RunOptions, RunPlan, make_plan
from kdh_ray.jobs.stage_search.best import BestRun
from kdh_ray.jobs.stage_search.choice import Choice
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.trial_ensemble import TrialEnsemble
from kdh_ray.jobs.stage_search.trial_task import trial_task
from kdh_ray.jobs.unlabelled import predict_text, with_text
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.training_documents import TrainingDocuments
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.stages import StageRunner
from kdh_ray.tuning.trials import Trial

DOCUMENTS = 20  # without labels
FAST = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
ALONE = {"teacher": FAST, "student": {"layers": 1, "teachers": ["teacher"], **FAST}}
"""A teacher without members, and a student."""


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of unlabelled notes, and of a held-out one before them."""
    file = tmp_path_factory.mktemp("text") / "more.csv"
    held_out = load_corpus("synthetic", documents=60).splits["validation"].texts[0]
    texts = [held_out, *(f"the cell shows {'growth ' * i}." for i in range(DOCUMENTS))]
    pd.DataFrame({"text": texts}).to_csv(file, index=False)
    return file


def unlabelled_texts(more: Path) -> list[str]:
    return list(pd.read_csv(more)["text"][1:])


def tree(encoder: Path, more: Path, stages: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """A configuration of a teacher of two members, and of a student that learns from unlabelled text."""
    return {
        "name": "unlabelled",
        "data": {
            "documents": 60, "max_tokens": 16, "segments": False,
            "unlabelled": {"path": str(more), "held_out": "drop"}, **data,
        },
        "stages": {
            name: {"start": str(encoder), **stage}
            for name, stage in (stages or {**ALONE, "teacher": {"members": 2, **FAST}}).items()
        },
        "baselines": {"tfidf": False},
    }  # fmt: skip


@pytest.fixture(scope="module")
def finished(encoder: Path, more: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs") / "run"
    run(tree(encoder, more), out, local=True)
    return RunFolder(out)


def corpus_with_text(config: dict[str, Any], out: Path, *stages: str) -> tuple[RunPlan, Corpus]:
    plan = make_plan(config, out, stages or None)
    return plan, with_text(plan, corpus_from_config(plan.config.data), RunOptions(local=True))


def learnt_by(config: dict[str, Any], folder: RunFolder, name: str, out: Path) -> Unlabelled | None:
    """Return the unlabelled text of a stage whose teachers are finished in ``folder``."""
    _, corpus = corpus_with_text(config, out)
    runner = StageRunner(parse_config(config), corpus, folder.path)
    return runner.on_documents_of(name).corpus.unlabelled


def folders(folder: RunFolder) -> set[Path]:
    return set((folder.cache / "unlabelled").iterdir())


def test_members_teach_unlabelled_text_by_their_mean(
    finished: RunFolder, encoder: Path, more: Path, tmp_path: Path
) -> None:
    found = learnt_by(tree(encoder, more), finished, "student", tmp_path)
    assert found is not None
    texts = unlabelled_texts(more)
    assert list(found.texts.texts) == texts
    members = [load_classifier(finished.stage(f"teacher-{number}").checkpoint).predict(texts) for number in (1, 2)]
    mean = np.mean([member.logits.documents for member in members], axis=0)
    np.testing.assert_allclose(found.logits, mean, atol=1e-5)
    assert learnt_by(tree(encoder, more), finished, "teacher-1", tmp_path) is None


def test_row_and_card_say_what_taught_the_student(finished: RunFolder) -> None:
    rows = load_runs(finished.rows).set_index("stage")
    assert rows.loc["student", "unlabelled_documents"] == DOCUMENTS
    assert rows.loc["student", "unlabelled_taught_by"] == "teacher-1, teacher-2"
    assert rows.loc["student", "documents_trained"] == 36 + DOCUMENTS
    assert rows.loc[["teacher", "teacher-1"], "unlabelled_documents"].isna().all()
    card = model_card(checkpoint_facts(load_card(finished.stage("student").checkpoint)))
    assert f"- unlabelled documents: {DOCUMENTS}\n- unlabelled taught by: teacher-1, teacher-2\n" in card


def test_unlabelled_text_counts_as_trained_on_by_students_only(finished: RunFolder, more: Path) -> None:
    digest = [text_digest(unlabelled_texts(more)[3])]
    for name, is_trained_on in (("student", True), ("teacher-1", False)):
        documents = TrainingDocuments.load(finished.stage(name).checkpoint)
        assert documents is not None
        assert documents.trained_on(digest).tolist() == [is_trained_on]


def test_an_interrupted_prediction_resumes_with_the_missing_blocks(
    encoder: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("kdh_ray.data.text_pool", "kdh_ray.jobs.unlabelled"):
        monkeypatch.setattr(f"{module}.BLOCK", 4)

    def interrupt(event: Event) -> None:
        if event["kind"] == "step" and event["stage"].startswith("unlabelled text") and event["done"]:
            raise KeyboardInterrupt

    monkeypatch.setattr("kdh_ray.events.STEP_SECONDS", 0.0)
    config, text = tree(encoder, more, ALONE), tmp_path / "cache" / "unlabelled"
    run(config, tmp_path, local=True, stages=["teacher"])
    assert not text.exists()
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, local=True, stages=["student"], listener=interrupt)
    (folder,) = text.iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("block-*")}
    assert len(before) == 1
    rows = run(config, tmp_path, local=True, stages=["student"])
    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("block-*")}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert rows.set_index("stage").loc["student", "unlabelled_documents"] == DOCUMENTS


def test_predictions_are_made_once_for_each_text_and_teacher(
    finished: RunFolder, encoder: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(file: Path) -> None:
        plan = make_plan(tree(encoder, file), tmp_path)
        corpus = with_text(plan, corpus_from_config(plan.config.data), RunOptions(local=True))
        config = plan.config.model_copy(update={"cache": finished.cache})
        link = tmp_path / "stages"
        if not link.exists():
            link.mkdir()
            for number in (1, 2):
                (link / f"teacher-{number}").symlink_to(finished.stage(f"teacher-{number}").path)
        predict_text(config, plan.folder, ["student"], corpus, RunOptions(local=True), EventLog())

    def unwanted(*_: Any, **__: Any) -> None:
        raise AssertionError("predicted again")

    known = folders(finished)
    assert len(known) == 2  # of two members
    with monkeypatch.context() as patched:
        patched.setattr(unlabelled, "predict_files", unwanted)
        moved = tmp_path / "elsewhere" / "more.csv"
        moved.parent.mkdir()
        moved.write_bytes(more.read_bytes())
        predict(moved)  # the same text
    moved.write_text(moved.read_text() + "one more cell\n")
    predict(moved)
    assert len(folders(finished) - known) == 2


def test_a_search_reads_predictions_in_every_trial(
    finished: RunFolder, encoder: Path, more: Path, tmp_path: Path
) -> None:
    config = tree(encoder, more) | {"tune": {"stage": "student", "trials": 2}}
    plan = SearchPlan(parse_config(config), finished, "student")
    _, corpus = corpus_with_text(config, tmp_path)
    ((material,),) = trial_task(plan, corpus, on_gpu=False).materials.values()
    assert len(material.train) == 36 + DOCUMENTS
    best = plan.best_config({})
    assert best.unlabelled_teachers("student") == best.stages["student"].teachers
    assert len(best.stages["student"].teachers) == 2


def folded(encoder: Path, more: Path) -> dict[str, Any]:
    return tree(
        encoder, more, ALONE, folds=2, unlabelled={"path": str(more), "teachers": ["teacher"], "held_out": "drop"}
    )


def test_fold_models_learn_from_the_teacher_of_their_fold(encoder: Path, more: Path, tmp_path: Path) -> None:
    config = parse_config(folded(encoder, more))
    own = {"student-1": ["teacher-1"], "student-2": ["teacher-2"], "student": ["teacher-1", "teacher-2"]}
    behind = {name: config.checkpoints(config.unlabelled_teachers(name), Path) for name in own}
    assert {name: [each.name for each in found] for name, found in behind.items()} == own
    best = SearchPlan(config, RunFolder(tmp_path), "student").best_config({})
    assert {name: [Path(each).parent.name for each in best.unlabelled_teachers(name)] for name in own} == own


@pytest.mark.slow
def test_every_fold_has_a_row_that_names_its_teacher(encoder: Path, more: Path, tmp_path: Path) -> None:
    rows = run(folded(encoder, more), tmp_path, local=True).set_index("stage")
    assert rows.loc["student-1", "unlabelled_taught_by"] == "teacher-1"
    assert rows.loc["student", "unlabelled_taught_by"] == "teacher-1, teacher-2"


def test_a_job_ends_before_its_teachers_predict(encoder: Path, more: Path, tmp_path: Path) -> None:
    stages = {
        "teacher": {}, "plain": {}, "assistant": {"teachers": ["teacher"]}, "finetuned": {"start": "assistant"},
        "student": {"teachers": ["assistant"]},
    }  # fmt: skip
    jobs = [part.stages for _, part in _parts(make_plan(tree(encoder, more, stages), tmp_path))]
    assert jobs == [("teacher", "plain"), ("assistant", "finetuned"), ("student",)]
    jobs = [part.stages for _, part in _parts(make_plan(tree(encoder, more, stages, unlabelled=()), tmp_path))]
    assert len(jobs) == 1


def test_held_out_text_is_refused_or_dropped(encoder: Path, tmp_path: Path) -> None:
    data = {"documents": 60, "segments": False}
    corpus = corpus_from_config(parse_config({"data": data, "stages": {"teacher": {}}}).data)
    validation, train = corpus.splits["validation"].texts[2], corpus.splits["train"].texts[5]
    texts = ["a cell", train, validation.upper(), None, f"{corpus.splits['test'].texts[0]} again"]
    file = tmp_path / "more.jsonl"
    pd.DataFrame({"text": texts}).to_json(file, orient="records", lines=True)

    def pool(**settings: Any) -> Callable[[], Corpus]:
        folds = settings.pop("folds", 1)
        config = tree(encoder, file, folds=folds, unlabelled={"path": str(file), **settings})
        if folds > 1:
            config["stages"]["teacher"].pop("members")
        return lambda: corpus_with_text(config, tmp_path / "run")[1]

    with pytest.raises(DataError, match=r"1 texts are in the validation or test split \(first: more.jsonl#3\); leave"):
        pool()()
    with pytest.raises(DataError, match=r"2 texts are in the train or validation or test split"):
        pool(folds=2)()
    found = pool(held_out="drop")().pool
    assert found is not None
    assert found.left_out.tolist() == [2, 3]
    said = " | ".join(found.warnings)
    assert "document 'more.jsonl#4' can't be read as text, and left out" in said
    assert "text 'more.jsonl#3' of the validation or test split, left out" in said
    assert "not left out: text 'more.jsonl#5', like validation or test ones" in said


def test_unusable_text_is_refused_before_training(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes.csv").write_text("note\nfine\n")

    def refused(file: str, message: str, **settings: Any) -> None:
        config = tree(encoder, tmp_path, unlabelled={"path": str(tmp_path / file), **settings})
        with pytest.raises(DataError, match=message):
            run(config, tmp_path / "run", local=True)
        assert not (tmp_path / "run" / "stages").exists()

    refused("none.csv", r"^data.unlabelled.path: .*none.csv: no such file or folder")
    refused("empty.csv", "empty.csv: holds no document to learn from")
    refused("notes.csv", "has no column 'text'")
    refused("notes.csv", "ids can't be the texts", text_column="note", id_column="note")
    (tmp_path / "predicted").mkdir()
    (tmp_path / "predicted" / ".plan.json").write_text("{}")
    refused("predicted", "is an output of kdh-ray predict, not text")


def test_an_epoch_samples_unlabelled_text(finished: RunFolder, encoder: Path, more: Path, tmp_path: Path) -> None:
    config = tree(encoder, more, unlabelled={"path": str(more), "sample": 5, "held_out": "drop"})
    _, corpus = corpus_with_text(config, tmp_path)
    runner = StageRunner(parse_config(config), corpus, finished.path).on_documents_of("student")
    examples = runner.prepare("student", runner.config.stages["student"]).train
    assert len(examples) == 36 + DOCUMENTS
    draws = [examples.of_epoch(np.random.default_rng(seed), labelled_only=False) for seed in (1, 1, 2)]
    assert all(draw[:36].tolist() == list(range(36)) and len(set(draw)) == 41 for draw in draws)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert draws[0].tolist() != draws[2].tolist()
    assert examples.epoch_length(labelled_only=False) == 41
    assert examples.epoch_length(labelled_only=True) == 36
    assert examples.of_epoch(np.random.default_rng(1), labelled_only=True).tolist() == list(range(36))


@pytest.mark.ray
def test_text_is_predicted_on_ray(encoder: Path, more: Path, tmp_path: Path) -> None:
    from kdh_ray.cluster.session import ray_session
    from kdh_ray.config import JobConfig

    with ray_session(JobConfig(), cpus=2):
        rows = run(tree(encoder, more), tmp_path)
    assert rows.set_index("stage").loc["student", "unlabelled_documents"] == DOCUMENTS
    assert len(folders(RunFolder(tmp_path))) == 2


@pytest.mark.parametrize("folds", [1, 2])
def test_trials_that_teach_the_student_predict_its_unlabelled_text(
    folds: int, encoder: Path, more: Path, tmp_path: Path
) -> None:
    own_text = tmp_path / "more.csv"  # with folds no labelled document may be among it
    pd.DataFrame({"text": unlabelled_texts(more)}).to_csv(own_text, index=False)
    config = parse_config(tree(encoder, own_text, ALONE, folds=folds))
    run(config, tmp_path, stages=[name for name in config.stages if name.startswith("teacher")], local=True)
    plan = SearchPlan(config, RunFolder(tmp_path), "student")
    trials = tuple(Trial(number, str(number), {"learning_rate": 1e-3 / number}, "ok") for number in (1, 2))
    best = BestRun(plan, RunOptions(local=True))
    best.train(Choice(trials[0], "chosen", ensemble=TrialEnsemble(trials, 0.5)))
    row = load_runs(best.folder).set_index("stage").loc["student"]
    assert row["unlabelled_documents"] == DOCUMENTS
    taught_by = row["unlabelled_taught_by"]
    members = ["student-trials-1", "student-trials-2"]
    models = members if folds == 1 else [f"{name}-{fold}" for name in members for fold in (1, 2)]
    assert all(model in taught_by for model in models), taught_by
