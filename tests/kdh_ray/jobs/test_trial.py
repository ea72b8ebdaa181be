"""A trial of a stage, without Tune around it."""

import numpy as np
import pytest
import torch
from small_stage import StageSearch, search_plan, small

from kdh_ray import run
from kdh_ray.data import corpus_from_config
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.inference.forward import forward
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.trial import StageTrial
from kdh_ray.jobs.stage_search.trial_task import trial_task
from kdh_ray.training.loop import Training


@pytest.fixture
def folder(encoder, tmp_path):
    """Folder of a run of ``small`` whose teacher is trained."""
    run(small(encoder), tmp_path, stages=["teacher"], local=True)
    return tmp_path


def task_of(config, folder):
    return trial_task(search_plan(config, folder), corpus_from_config(config.data), on_gpu=False)


def started(task, values):
    trial = StageTrial.__new__(StageTrial)
    trial.setup(values, task)
    return trial


def test_infeasible_student_is_not_trained(encoder, folder):
    sizes = task_of(small(encoder), folder).costs["teacher"].parameters
    task = task_of(small(encoder, objective="f1_macro", max_parameters=sizes[1] + 1), folder)
    trial = started(task, {"layers": 2, "epochs": 1})
    over = trial.step()
    assert over["validation_f1_macro"] == -over["violation"] == pytest.approx(1 - sizes[2] / (sizes[1] + 1))
    assert (over["training_iteration"], over["done"]) == (0, True)
    trial.reset_config({"layers": 1, "epochs": 1, "finetune_epochs": 1, "max_tokens": 8})
    first, second = trial.step(), trial.step()
    assert first["violation"] == 0.0
    assert 0 <= first["validation_f1_macro"] <= 1
    assert (first["parameters"], first["done"], second["done"]) == (sizes[1], False, True)
    assert first["latency_ms"] > 0


def test_trials_report_every_objective(encoder, folder):
    task = task_of(small(encoder, objective="log_loss", max_parameters=1), folder)
    over = started(task, {"layers": 2, "epochs": 1}).step()
    assert over["validation_log_loss"] == 1 + over["violation"]
    trial = started(task_of(small(encoder), folder), {"layers": 1, "epochs": 1})
    report = trial.step()
    training = trial._trial.training
    probabilities = forward(training.classifier, training.validation.tokens).probabilities
    expected = score(training.validation.targets, probabilities)
    for name in ("validation_average_precision_micro", "validation_log_loss"):
        assert report[name] == pytest.approx(expected[name.removeprefix("validation_")], rel=1e-4)


def test_trials_keep_the_predictions_of_their_best_epoch(encoder, folder):
    task = task_of(small(encoder), folder)
    trial = started(task, {"layers": 1, "epochs": 2})._trial
    reports = [trial.epoch("particle-3-trial-0007") for _ in range(2)]
    kept = np.load(task.folder.predictions(7))
    assert (kept.dtype, kept.shape) == (np.float16, trial.training.validation.targets.shape)
    truth, probabilities = trial.training.validation.targets, logistic(kept)
    reached = score(truth, probabilities, tune_global(truth, probabilities))["f1_micro"]
    assert reached == pytest.approx(max(report["validation_f1_micro"] for report in reports), abs=5e-3)
    assert not list(task.folder.predictions(7).parent.glob(".*"))


def test_full_gpu_error_names_settings_to_lower(encoder, folder, monkeypatch):
    def full(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a capacity of 1 GiB")

    trial = started(task_of(small(encoder), folder), StageSearch().suggest(""))
    monkeypatch.setattr(Training, "advance", full)
    with pytest.raises(MemoryError, match=r"^lower batch_size, max_tokens or .* \(CUDA out of memory\. Tried to"):
        trial.step()


def test_resumed_trial_equals_uninterrupted_one(encoder, folder):
    task = task_of(small(encoder), folder)
    values, score = StageSearch().suggest("") | {"epochs": 3}, "validation_f1_micro"
    whole, first, second = (started(task, values) for _ in range(3))
    expected = [whole.step() for _ in range(3)]
    assert [result["done"] for result in expected] == [False, False, True]
    assert first.step()[score] == expected[0][score]
    (folder / "state").mkdir()
    first.save_checkpoint(str(folder / "state"))
    second.load_checkpoint(str(folder / "state"))
    assert [second.step()[score] for _ in range(2)] == [result[score] for result in expected[1:]]
    assert not hasattr(task.materials["teacher"][0], "test")
