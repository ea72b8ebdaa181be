"""Searches with several objectives: their faults, the choice on the front, and what rows and the report show."""

import pandas as pd
import pytest
from cheap_search import RandomSearch
from small_stage import search_plan, small

from kdh_ray.cli.trials import Board
from kdh_ray.config import dump_config, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.errors import ConfigError, UserError
from kdh_ray.jobs import search
from kdh_ray.jobs.stage_search.choice import choose
from kdh_ray.jobs.stage_search.searcher import make_searcher
from kdh_ray.jobs.stage_search.space import search_space
from kdh_ray.jobs.stage_search.trial_rows import TrialRows
from kdh_ray.report import figures
from kdh_ray.report.sections import make_report
from kdh_ray.results import load_runs
from kdh_ray.results.fronts import front_table, hypervolumes
from kdh_ray.tuning import SearchResult
from kdh_ray.tuning.trials import Report, Trial

OBJECTIVES = ["f1_micro", "parameters"]


def trial(number, score, parameters, status="ok", **values):
    config = {"learning_rate": 1e-3, "loss.alpha": 0.5, "dropout": 0.01 * number, "layers": 1, "epochs": 2}
    results = {"validation_f1_micro": score, "parameters": parameters, **values}
    return Trial(number, str(number), config, status, [Report(2.0, score, 1.0, results)], full=2.0)


TRIALS = [
    trial(1, 0.70, 3e6), trial(2, 0.80, 9e6), trial(3, 0.795, 5e6), trial(4, 0.79, 6e6), trial(5, 0.9, 1e6, "stopped"),
    trial(6, 0.99, 8e6, violation=0.1),
]  # fmt: skip


def plan_of(encoder, folder, **tune):
    return search_plan(small(encoder, objective=OBJECTIVES, **tune), folder)


def found(trials=TRIALS):
    return SearchResult([*trials], "validation_f1_micro", "max", 1.0, further_objectives={"parameters": "min"})


@pytest.mark.parametrize(
    ("tune", "fault"),
    [
        ({"objective": "f1"}, "tune.objective: takes f1_micro, .*got 'f1'"),
        ({"objective": "f1_mirco"}, r"got 'f1_mirco'; did you mean 'f1_micro'\?"),
        ({"objective": ["f1_macro", "Latency"]}, r"got \['f1_macro', 'Latency'\]; did you mean 'latency_ms'\?"),
        ({"objective": ["parameters", "f1_micro"]}, "a list that begins with one of these"),
        ({"objective": ["f1_micro", "size"]}, "parameters or latency_ms; got"),
        ({"objective": ["f1_micro", "f1_micro"]}, "takes each objective once"),
        ({"objective": []}, "takes f1_micro"),
        (
            {"objective": OBJECTIVES, "prefer": "latency_ms"},
            "prefer: takes one of the objectives, f1_micro, parameters",
        ),
        ({"objective": OBJECTIVES, "prefer": "parameters", "keep_default": True}, "judges by the first objective only"),
    ],
)
def test_faults_of_objectives(encoder, tune, fault):
    with pytest.raises(ConfigError, match=fault) as refused:
        small(encoder, **tune)
    assert len(refused.value.faults) == 1


def test_objectives_read_back_as_written(encoder):
    import yaml

    config = small(encoder, objective=OBJECTIVES, prefer="parameters")
    assert parse_config(yaml.safe_load(dump_config(config))) == config
    assert small(encoder, objective=["f1_macro"]) == small(encoder, objective="f1_macro")


def test_cost_that_no_trial_changes_is_refused(encoder):
    config = small(encoder, objective=OBJECTIVES, space={"dropout": {"low": 0.0, "high": 0.3}})
    with pytest.raises(ConfigError, match=r"tune\.objective: parameters is the same in all trials: search layers"):
        search_space(config)
    tree = {**config.model_dump(mode="json"), "tune": {"objective": OBJECTIVES}}
    tree["stages"]["student"]["layers"] = 2
    assert "layers" in search_space(parse_config(tree))


def test_searcher_of_one_objective_is_refused(encoder, tmp_path):
    with pytest.raises(
        ConfigError, match=r"tune\.searcher: PySwarms optimises one objective; several are optimised by"
    ):
        make_searcher(small(encoder, objective=OBJECTIVES, searcher="pyswarms"))
    with pytest.raises(UserError, match=r"tune\.objective: RandomSearch optimises one objective"):
        search(small(encoder, objective=OBJECTIVES), tmp_path, searcher=RandomSearch())
    assert make_searcher(small(encoder, objective=OBJECTIVES)).further_objectives == {"parameters": "min"}


def test_best_in_first_objective_is_chosen(encoder, tmp_path):
    plan = plan_of(encoder, tmp_path)
    choice = choose(plan, corpus_from_config(plan.config.data), found())
    assert choice.trial.number == 2
    assert choice.sentence.endswith(
        " On the front of micro F1, parameters: trial 2 (80.0 %, 9.0 M parameters); trial 3 (79.5 %, 5.0 M"
        " parameters); trial 1 (70.0 %, 3.0 M parameters)."
    )
    assert choice.columns["search_front"] == [2, 3, 1]


@pytest.mark.parametrize(("tolerance", "number"), [(0.01, 3), (0.001, 2), (0.2, 1)])
def test_preferred_objective_decides_within_tolerance(encoder, tmp_path, tolerance, number):
    plan = plan_of(encoder, tmp_path, prefer="parameters", tolerance=tolerance)
    choice = choose(plan, corpus_from_config(plan.config.data), found())
    assert choice.trial.number == number
    if number == 3:
        assert choice.sentence.startswith(
            "Chosen: trial 3 (79.5 %, 5.0 M parameters), the best in parameters of the trials on the front that give up"
            " at most 1.0 points of micro F1; the best in that is trial 2 (80.0 %, 9.0 M parameters)."
        )


def test_rows_and_report_show_front(encoder, tmp_path):
    plan = plan_of(encoder, tmp_path)
    rows = TrialRows(plan, corpus_from_config(plan.config.data), {})
    for each in TRIALS:
        rows.write(each)
    frame = load_runs(tmp_path)
    assert frame.set_index("trial")["on_front"].to_dict() == {1: True, 2: True, 3: True, 4: False, 5: False, 6: False}
    assert frame["objective"].unique().tolist() == ["f1_micro"]
    table = front_table(frame)
    assert table["trial"].tolist() == [2, 3, 1]
    assert table["parameters"].tolist() == ["9.0 M", "5.0 M", "3.0 M"]
    drawn = figures.front(frame)
    assert "3 of 4 trials are on the front of micro F1, parameters: trial 1: 70.0 %, 3.0 M parameters" in drawn.text
    assert drawn.data["hypervolume"].is_monotonic_increasing


def test_front_of_stopped_trials_where_none_ran_to_its_end(encoder, tmp_path):
    rows = TrialRows(plan_of(encoder, tmp_path), corpus_from_config(small(encoder).data), {})
    for each in (trial(1, 0.5, 3e6, "stopped"), trial(2, 0.4, 4e6, "stopped")):
        rows.write(each)
    assert load_runs(tmp_path)["on_front"].tolist() == [True, False]
    assert [each.number for each in found(TRIALS[4:5]).front] == [5]


def test_rows_of_one_objective_have_no_front(encoder, tmp_path):
    plan = search_plan(small(encoder), tmp_path)
    TrialRows(plan, corpus_from_config(plan.config.data), {}).write(TRIALS[0])
    frame = load_runs(tmp_path)
    assert "on_front" not in frame or frame["on_front"].isna().all()


def test_hypervolume_is_share_of_the_box():
    losses = pd.DataFrame({"a": [0.0, 2.0, 1.0], "b": [4.0, 0.0, 2.0]}).to_numpy()
    assert hypervolumes(losses) == [0.0, 0.0, 0.25]


def test_board_shows_every_objective(encoder, tmp_path):
    board = Board(small(encoder, objective=OBJECTIVES), tmp_path)
    board.trials[2] = TRIALS[1]
    assert "validation micro F1 80.0, 9.0 M parameters, 1 s" in board.line(TRIALS[1])
    assert [column.header for column in board.table(40).columns][4:6] == ["micro F1", "parameters"]


def test_report_has_front_of_several_objectives_only(encoder, tmp_path):
    for name, objective in (("several", OBJECTIVES), ("one", "f1_micro")):
        plan = search_plan(small(encoder, objective=objective), tmp_path / name)
        rows = TrialRows(plan, corpus_from_config(plan.config.data), {})
        for each in TRIALS:
            rows.write(each)
    several, one = (make_report(load_runs(tmp_path / name)) for name in ("several", "one"))
    drawn = [figure.name for section in several.sections for figure in section.figures]
    assert "front" in drawn
    tables = {table.title: table.frame for section in several.sections for table in section.tables}
    assert tables["The best trials"].set_index("trial")["on front"].to_dict()[3] is True
    assert "front" not in [figure.name for section in one.sections for figure in section.figures]
    assert "Front of several objectives" not in [each.title for section in one.sections for each in section.left_out]
