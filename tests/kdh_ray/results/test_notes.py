"""Notes of tables: repeated runs and how they differ, mixed means, members, and baselines that are better."""

import pandas as pd
from result_rows import FRAME, frame_of, row

from kdh_ray.results import render
from kdh_ray.results.method_rows import MEMBER
from kdh_ray.results.tables import efficiency, stage_table


def note(*rows: dict[str, object]) -> str:
    return str(stage_table(frame_of(*rows)).attrs["note"])


def test_a_replaced_run_says_how_it_differs() -> None:
    first, last = {"config_epochs": 3, "commit": "a"}, {"config_epochs": 5, "commit": "b"}
    said = note(row("plain", 0.7, **first), row("plain", 0.8, **last))
    assert "the last run counts, not the 1 before, which differ in epochs, code" in said
    same = note(row("plain", 0.7, **first), row("plain", 0.8, **first))
    assert same.endswith("not the 1 before")


def test_settings_of_the_machine_are_no_difference() -> None:
    said = note(row("plain", 0.7, **{"config_job.workers": 1}), row("plain", 0.8, **{"config_job.workers": 2}))
    assert said.endswith("not the 1 before")


def test_many_differences_are_counted() -> None:
    rows = [row("plain", 0.7, **{f"config_x{number}": value for number in range(8)}) for value in (1, 2)]
    assert "differ in x0, x1, x2, x3 and 4 other settings" in note(*rows)


def test_a_mean_over_other_settings_is_named() -> None:
    seeds = [row("plain", 0.7, seed, config_epochs=3 + seed, **{"config_data.sample_seed": seed}) for seed in (0, 1)]
    assert note(*seeds) == "the mean of plain is over runs that differ in epochs"
    assert note(*({**each, "method": "a study's"} for each in seeds)) == ""
    assert note(*({**each, "search_choice": "The best of 8."} for each in seeds)) == ""


def members(run_id: str, *scores: float, **more: object) -> list[dict[str, object]]:
    means = row("teacher", 0.9, kind="teacher", run_id=run_id, variant=f"fine-tuned, mean of {len(scores)}", **more)
    each = [
        row(f"teacher-{number}", score, kind=MEMBER, run_id=run_id, variant="fine-tuned", **more)
        for number, score in enumerate(scores, 1)
    ]
    return [means, *each]


def test_members_are_those_of_a_named_run() -> None:
    assert "teacher is the mean of models that reach 80.0 to 82.0 each" in note(*members("a", 0.8, 0.82))
    single = row("teacher", 0.85, kind="teacher", run_id="b", variant="fine-tuned")
    assert "teacher (fine-tuned, mean of 2) is the mean" in note(*members("a", 0.8, 0.82), single)
    two = [*members("a", 0.8, 0.82, experiment="x"), *members("b", 0.7, 0.72, experiment="y")]
    assert "teacher (x) is the mean of models that reach 80.0 to 82.0 each" in note(*two)
    assert "teacher (y) is the mean of models that reach 70.0 to 72.0 each" in note(*two)


def test_a_better_baseline_is_named() -> None:
    student, baseline = row("student", 0.8), row("tf-idf", 0.84, kind="baseline")
    said = "a baseline beats the best student: tf-idf has 84.0, the student 80.0"
    assert said in render.to_plain(stage_table(frame_of(student, baseline)))
    assert note(row("student", 0.84), row("tf-idf", 0.8399, kind="baseline")) == ""  # the same, as it is shown
    sizes = pd.concat([frame_of(student, baseline).assign(size="small"), frame_of(student)])
    assert "best student at size small: tf-idf" in stage_table(sizes).attrs["note"]


def test_measurements_of_two_machines_stay_apart() -> None:
    rows = [row("student", 0.8, latency_p50_ms=ms, machine=name) for ms, name in ((8.0, "laptop"), (2.0, "server"))]
    table = efficiency(frame_of(*rows))
    assert table[["machine", "n", "p50 ms"]].values.tolist() == [["laptop", 1, 8.0], ["server", 1, 2.0]]
    assert "machine" not in efficiency(FRAME.assign(latency_p50_ms=1.0))
