"""Runs and trials with folds: every document judges a model that never saw it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_stage import search_plan, small

from kdh_ray import load_classifier, run
from kdh_ray.cli.main import main
from kdh_ray.config import RunConfig, load_config, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.data.folds import fold_corpus, refit_corpus, with_folds
from kdh_ray.errors import ConfigError
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.events import Event
from kdh_ray.export.facts import _encoder
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.plan import make_plan
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.trial import StageTrial
from kdh_ray.jobs.stage_search.trial_task import trial_task
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.training_documents import TrainingDocuments
from kdh_ray.results import load_runs
from kdh_ray.results.tables import stage_table
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.stages import StageRunner


def folded(encoder: Path, folds: int = 2, **tune: Any) -> RunConfig:
    """``small`` with folds and a bag of words."""
    tree = small(encoder, **tune).model_dump(mode="json")
    del tree["tune"]["stage"]
    return parse_config({**tree, "data": {**tree["data"], "folds": folds}, "baselines": {"tfidf": True}})


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def finished(encoder: Path, events: list[Event], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a finished run with two folds."""
    out = tmp_path_factory.mktemp("runs") / "folds"
    run(folded(encoder), out, local=True, listener=events.append)
    return RunFolder(out)


def logits(folder: RunFolder, stage: str, split: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(folder.stage(stage).predictions / f"{split}.npy"))


def test_each_stage_gets_a_model_a_fold(encoder: Path) -> None:
    config = folded(encoder)
    assert list(config.stages) == ["teacher-1", "teacher-2", "teacher", "student-1", "student-2", "student"]
    assert (config.stages["student-2"].fold, config.stages["student-2"].teachers) == (2, ("teacher-2",))
    assert config.stages["student-2"].start == "teacher-2"
    assert [name for name in config.stages if config.is_mean(name)] == ["teacher"]
    assert set(config.direct_needs("student")) == {"student-1", "student-2", "teacher"}
    assert parse_config(config.model_dump(mode="json")) == config


def with_members(encoder: Path, **tune: Any) -> RunConfig:
    """``folded`` with two members of the teacher, the first of which the student starts from."""
    tree = folded(encoder, **tune).model_dump(mode="json", include={"name", "data", "precision", "tune"})
    own = small(encoder).model_dump(mode="json")["stages"]
    stages = {"teacher": {**own["teacher"], "members": 2}, "student": {**own["student"], "start": "teacher-1"}}
    return parse_config({**tree, "stages": stages, "baselines": {"tfidf": False}})


def test_each_member_gets_a_model_a_fold(encoder: Path) -> None:
    config = with_members(encoder)
    assert list(config.stages) == [
        *("teacher-1-1", "teacher-1-2", "teacher-1", "teacher-2-1", "teacher-2-2", "teacher-2", "teacher"),
        *("student-1", "student-2", "student"),
    ]
    assert config.models("teacher") == ["teacher-1-1", "teacher-1-2", "teacher-2-1", "teacher-2-2"]
    assert config.stages["student-2"].teachers == ("teacher-1-2", "teacher-2-2")
    assert config.stages["student-2"].start == "teacher-1-2"
    assert [name for name in config.stages if config.is_mean(name)] == ["teacher-1", "teacher-2", "teacher"]
    assert config.with_parts("teacher") == list(config.stages)[:7]
    assert parse_config(config.model_dump(mode="json")) == config
    tune = {"stage": "teacher", "space": {"epochs": {"low": 1, "high": 2}}}
    with pytest.raises(ConfigError, match=r"tune\.stage: must have one member with data\.folds; 'teacher' has 2"):
        SearchPlan.of(make_plan({**config.model_dump(mode="json"), "tune": tune}, encoder))


def test_members_of_all_folds_teach_the_final_student(encoder: Path, tmp_path: Path) -> None:
    rows = run(with_members(encoder), tmp_path, local=True).set_index("stage")
    folder = RunFolder(tmp_path)
    names = ("teacher-1", "teacher-2")
    for split in ("validation", "test"):
        mean = (logits(folder, names[0], split) + logits(folder, names[1], split)) / 2
        np.testing.assert_allclose(logits(folder, "teacher", split), mean, rtol=1e-6)
    corpus = corpus_from_config(with_members(encoder).data)
    pool = len(refit_corpus(corpus).splits["train"])
    cached = sorted((folder.path / "cache" / "logits").glob("logits-*/ids.json"))
    assert [len(json.loads(file.read_text())) for file in cached].count(pool) == 4
    documents = TrainingDocuments.load(folder.stage("teacher-2-1").checkpoint)
    assert documents is not None
    assert not documents.trained_on(fold_corpus(corpus, 1).splits["validation"].digests).any()
    assert rows.loc["teacher", "variant"] == "fine-tuned, mean of 4"
    assert set(rows[rows.kind == "member"].index) == {*with_members(encoder).stages} - {"teacher", "student"}
    note = stage_table(load_runs(folder.rows)).attrs["note"]
    assert note.count("mean of models that reach") == 1


def test_student_with_members_is_refit_by_each(encoder: Path, tmp_path: Path) -> None:
    tree = folded(encoder).model_dump(mode="json", include={"name", "data", "precision"})
    own = small(encoder).model_dump(mode="json")["stages"]["teacher"]
    config = parse_config({**tree, "stages": {"model": {**own, "members": 2}}, "baselines": {"tfidf": False}})
    run(config, tmp_path, local=True)
    folder = RunFolder(tmp_path)
    documents = TrainingDocuments.load(folder.stage("model-2").checkpoint)
    assert documents is not None
    corpus = corpus_from_config(config.data)
    assert documents.trained_on(refit_corpus(corpus).splits["train"].digests).all()
    mean = (logits(folder, "model-1", "test") + logits(folder, "model-2", "test")) / 2
    np.testing.assert_allclose(logits(folder, "model", "test"), mean, rtol=1e-6)


def test_names_of_fold_models_are_taken(encoder: Path) -> None:
    tree = folded(encoder).model_dump(mode="json", include={"data"})
    stages = {"teacher": {"start": str(encoder)}, "teacher-2": {"start": str(encoder)}}
    with pytest.raises(
        ConfigError, match=r"stages\.teacher-2: data\.folds adds a stage of this name to 'teacher'; give"
    ):
        parse_config({**tree, "stages": stages})
    with pytest.raises(ConfigError, match=r"stages\.teacher\.fold: data\.folds sets it; leave it out"):
        parse_config({"stages": {"teacher": {"start": str(encoder), "fold": 1}}})


def test_no_model_is_judged_by_documents_it_saw(finished: RunFolder, encoder: Path) -> None:
    corpus = corpus_from_config(folded(encoder).data)
    for number in (1, 2):
        fold = fold_corpus(corpus, number)
        for stage in (f"teacher-{number}", f"student-{number}"):
            documents = TrainingDocuments.load(finished.stage(stage).checkpoint)
            assert documents is not None
            assert not documents.trained_on(fold.splits["validation"].digests).any()
            assert documents.trained_on(fold.splits["train"].digests).all()
            ids = json.loads((finished.stage(stage).predictions / "validation-ids.json").read_text())
            assert ids == list(fold.splits["validation"].ids)


def test_thresholds_come_from_out_of_fold_predictions(finished: RunFolder, encoder: Path) -> None:
    corpus = corpus_from_config(folded(encoder).data)
    assert corpus.folds is not None
    judged = refit_corpus(corpus).splits["validation"]
    expected = np.zeros(judged.targets.shape, np.float32)
    for number in (1, 2):
        expected[corpus.folds.parts == number] = logits(finished, f"student-{number}", "validation")
    np.testing.assert_array_equal(logits(finished, "student", "validation"), expected)
    threshold = tune_global(judged.targets, logistic(expected))
    assert load_card(finished.stage("student").checkpoint).thresholds[0] == pytest.approx(threshold)


def test_final_student_learns_from_all_documents(finished: RunFolder, encoder: Path, events: list[Event]) -> None:
    corpus = corpus_from_config(folded(encoder).data)
    documents = TrainingDocuments.load(finished.stage("student").checkpoint)
    assert documents is not None
    for split in ("train", "validation"):
        assert documents.trained_on(corpus.splits[split].digests).all()
    assert not documents.trained_on(corpus.splits["test"].digests).any()
    histories = [(finished.stage(f"student-{number}").read_result() or {})["history"] for number in (1, 2)]
    kept = [max(epoch["epoch"] for epoch in history if epoch["best"]) for history in histories]
    result = finished.stage("student").read_result()
    assert result is not None
    assert len(result["history"]) == int(np.median(kept) + 0.5)
    whole = len(refit_corpus(corpus).splits["train"]) * len(result["history"])
    of_folds = [len(fold_corpus(corpus, fold).splits["train"]) * len(histories[fold - 1]) for fold in (1, 2)]
    assert result["documents_trained"] == whole + sum(of_folds)
    assert result["seconds"] > sum(epoch["seconds"] for epoch in result["history"])
    shown = [
        (event["epoch"], event["epochs"]) for event in events if (event["kind"], event["stage"]) == ("epoch", "student")
    ]
    assert shown[-1] == (len(result["history"]),) * 2
    text = corpus.splits["test"].raw()
    scored = load_classifier(finished.stage("student").checkpoint).predict(text.texts).probabilities
    np.testing.assert_allclose(scored, logistic(logits(finished, "student", "test")), atol=5e-3)


def test_every_fold_teacher_teaches_the_final_student(finished: RunFolder, encoder: Path) -> None:
    mean = (logits(finished, "teacher-1", "test") + logits(finished, "teacher-2", "test")) / 2
    np.testing.assert_allclose(logits(finished, "teacher", "test"), mean, rtol=1e-6)
    cached = sorted((finished.path / "cache" / "logits").glob("logits-*/ids.json"))
    documents = [len(json.loads(file.read_text())) for file in cached]
    pool = len(refit_corpus(corpus_from_config(folded(encoder).data)).splits["train"])
    assert documents.count(pool) == 2  # both teachers on all documents, and each on its own fold's


def test_final_student_is_of_this_data(finished: RunFolder, encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(finished.stage("student").checkpoint)
    assert main(["evaluate", checkpoint]) == 0
    assert "changed" not in capsys.readouterr().err
    assert main(["evaluate", checkpoint, "--split", "validation"]) == 2
    error = capsys.readouterr().err
    assert "learnt from 12 of the 12 validation documents" in error
    assert "its run divided the data into folds" in error
    assert main(["card", checkpoint, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["corpus"]["documents"] == {"train": 84, "validation": 0, "test": 36}
    assert "out_of_fold_f1_micro" in facts["training"]
    assert facts["encoder"]["source"] == encoder.name


def test_card_knows_the_encoder_of_a_teacher_in_another_run(finished: RunFolder, encoder: Path) -> None:
    plan = search_plan(folded(encoder), finished.path)
    best, card = plan.best_config({}), load_card(finished.stage("student").checkpoint)
    assert _encoder(best, card)["source"] == encoder.name


def test_rows_of_folds_are_members(finished: RunFolder) -> None:
    rows = load_runs(finished.rows).set_index("stage")
    assert rows["kind"].to_dict() == {
        "teacher-1": "member", "teacher-2": "member", "teacher": "teacher", "student-1": "member",
        "student-2": "member", "student": "student", "tf-idf": "baseline",
    }  # fmt: skip
    assert rows.loc["teacher", "variant"] == "fine-tuned, mean of 2"
    assert rows.loc["student", "variant"] == "distilled"
    note = stage_table(load_runs(finished.rows)).attrs["note"]
    assert "teacher is the mean of models that reach" in note
    assert "student is trained on all folds; its fold models reach" in note


def test_interrupted_run_repeats_no_fold(finished: RunFolder, encoder: Path, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if event["kind"] == "epoch" and event["stage"] == "student-2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folded(encoder), tmp_path, local=True, listener=interrupt)
    again: list[Event] = []
    run(tmp_path / "config.yaml", tmp_path, local=True, listener=again.append)
    assert [event["stage"] for event in again if event["kind"] == "start"] == ["student-2", "student"]
    np.testing.assert_array_equal(logits(RunFolder(tmp_path), "student", "test"), logits(finished, "student", "test"))


def test_published_validation_split_chooses_for_the_final_student(encoder: Path, tmp_path: Path) -> None:
    """As in HoC's protocols: the training split alone is divided, and validation is never trained on."""
    config = folded(encoder)
    whole = corpus_from_config(config.data.model_copy(update={"folds": 1}))
    corpus = with_folds(whole, 2, lambda pool, shares: np.arange(len(pool)) % 2, ("train",))
    runner = StageRunner(config, corpus, tmp_path)
    for name in config.stages:
        runner.run(name)
    folder = RunFolder(tmp_path)
    ids = json.loads((folder.stage("student").predictions / "validation-ids.json").read_text())
    assert ids == list(whole.splits["validation"].ids)
    assert logits(folder, "teacher", "validation").shape == whole.splits["train"].targets.shape
    for name in ("teacher-1", "student-2", "student"):
        documents = TrainingDocuments.load(folder.stage(name).checkpoint)
        assert documents is not None
        assert not documents.trained_on(whole.splits["validation"].digests).any()
    assert "refit_epochs" not in (folder.stage("student").read_result() or {})


def test_trial_reports_the_finished_folds_together(finished: RunFolder, encoder: Path) -> None:
    trial = trial_of(finished, encoder)
    reports = [trial.epoch("trial-0003") for _ in range(4)]
    assert [report["training_iteration"] for report in reports] == [1, 2, 3, 4]
    assert [report["folds_run"] for report in reports] == [0, 1, 1, 2]
    assert [report["done"] for report in reports] == [False, False, False, True]
    assert reports[1]["validation_f1_micro"] == reports[2]["validation_f1_micro"]
    judged = refit_corpus(corpus_from_config(folded(encoder).data)).splits["validation"]
    kept = np.load(finished.search.predictions(3))
    assert kept.shape == judged.targets.shape
    assert np.isfinite(kept).all()


def test_resumed_trial_repeats_no_fold(finished: RunFolder, encoder: Path, tmp_path: Path) -> None:
    whole, first = trial_of(finished, encoder), trial_of(finished, encoder)
    expected = [whole.epoch() for _ in range(4)]
    for epochs in (2, 3):  # at the end of a fold, and within the next
        while first.fold_scores.epochs + len(first.training.history) < epochs:
            first.epoch()
        state = tmp_path / str(epochs)
        state.mkdir()
        first.save(state)
        second = trial_of(finished, encoder)
        second.load(state)
        np.testing.assert_array_equal(second.fold_scores.logits, first.fold_scores.logits)
        if first.training.history:
            np.testing.assert_array_equal(second.training.best_logits, first.training.best_logits)
        scores = [second.epoch()["validation_f1_micro"] for _ in range(4 - epochs)]
        assert scores == [report["validation_f1_micro"] for report in expected[epochs:]]


def trial_of(finished: RunFolder, encoder: Path) -> Any:
    """Return the training of a trial of two epochs a fold, without Tune around it."""
    config = folded(encoder)
    task = trial_task(search_plan(config, finished.path), corpus_from_config(config.data), on_gpu=False)
    trial = StageTrial.__new__(StageTrial)
    trial.setup({"layers": 1, "epochs": 2}, task)
    return trial._trial


def test_best_run_trains_every_fold_with_its_settings(encoder: Path, tmp_path: Path) -> None:
    plan = search_plan(folded(encoder), tmp_path)
    assert plan.needed_stages == ["teacher-1", "teacher-2", "teacher"]
    assert (plan.epochs({"epochs": 2}), plan.longest) == (4, 6)  # over both folds
    best = plan.best_config({"loss.alpha": 0.25, "epochs": 2})
    assert list(best.stages) == ["student-1", "student-2", "student"]
    assert {stage.loss.alpha for stage in best.stages.values()} == {0.25}
    checkpoints = [str(plan.folder.stage(f"teacher-{number}").checkpoint) for number in (1, 2)]
    assert [list(best.stages[name].teachers) for name in best.stages] == [checkpoints[:1], checkpoints[1:], checkpoints]
    file = tmp_path / "best.yaml"
    file.write_text(json.dumps(best.model_dump(mode="json")))
    assert load_config(file) == best
