"""Tables of efficiency, of score against cost, and of searchers on replayed trials."""

from typing import Any

import pandas as pd
import pytest
from result_rows import FRAME, frame_of, row

from kdh_ray.errors import DataError
from kdh_ray.results import render
from kdh_ray.results.tables import efficiency, pareto, regrets, searchers, stage_table


def test_efficiency_has_a_line_per_number_format() -> None:
    rows = [
        row("student", 0.8, model="distilled", method=f"distilled-{name}", number_format=name, latency_p50_ms=latency,
            latency_p95_ms=2 * latency, inference_documents_per_second=1000 / latency, flops_per_document=2e9)
        for name, latency in (("float32", 20.0), ("int8", 8.0))
    ]  # fmt: skip
    table = efficiency(frame_of(*rows))
    assert table["format"].tolist() == ["float32", "int8"]
    assert table["n"].tolist() == [1, 1]
    assert table["p50 ms"].tolist() == [20.0, 8.0]
    assert table["FLOPs/document G"].tolist() == [2.0, 2.0]
    assert "energy/document J" not in table  # was not measured
    assert "| **8.00** | **16.0** | **125** |" in render.to_markdown(table)
    with pytest.raises(DataError, match="no row has a measured latency"):
        efficiency(FRAME)


def measured(latency: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    about = {"model": "distilled", "method": "distilled-int8", "number_format": "int8", "latency_p50_ms": latency}
    return row("student", 0.8, seed, **about, **more)


def test_efficiency_of_several_seeds_has_a_spread() -> None:
    table = efficiency(frame_of(measured(10.0), measured(12.0, 1), row("plain", 0.7, 0), row("plain", 0.6, 0)))
    assert "| distilled | int8 | 2 | **22.7** | **11.0 ± 1.4** | **80.0** |" in render.to_markdown(table)
    assert "mean ± standard deviation over n seeds" in render.to_plain(table)
    assert table["p50 ms sd"].tolist() == pytest.approx([2**0.5])
    assert "run again" not in render.to_plain(table)  # that is of rows that are not in this table


def test_other_thread_counts_are_not_averaged() -> None:
    rows = [measured(10.0, threads=1), measured(6.0, 1, threads=2), measured(5.0, 2, threads=2)]
    assert efficiency(frame_of(*rows))[["threads", "n", "p50 ms"]].to_numpy().tolist() == [[1, 1, 10.0], [2, 2, 5.5]]


def test_efficiency_needs_measured_rows() -> None:
    frame = FRAME.assign(latency_p50_ms=None)
    with pytest.raises(DataError, match="no row has a measured latency"):
        efficiency(frame)


def test_numbers_just_below_a_thousand_have_no_exponent() -> None:
    assert "1,000" in render.to_plain(efficiency(frame_of(measured(999.7))))


def test_front_holds_undominated_trials() -> None:
    def trial(number: int, score: float, latency: float, **more: Any) -> dict[str, Any]:
        about = {"kind": "trial", "trial": number, "validation_f1_micro": score, "latency_ms": latency}
        return {**row("student", 0.0), **about, "config_layers": number, "config_epochs": 4, **more}

    frame = frame_of(
        trial(1, 0.80, 9.0),
        trial(2, 0.70, 3.0),
        trial(3, 0.69, 5.0),  # slower and worse than 2
        trial(4, 0.80, 12.0),  # slower and no better than 1
        trial(5, 0.99, 1.0, status="stopped"),
        trial(6, 0.70, 3.0),  # the same as 2
        trial(7, 0.10, 0.5),
    )
    front = pareto(pd.concat([frame, FRAME]))
    assert front["trial"].tolist() == [7, 2, 1]
    assert front.columns.tolist() == ["trial", "validation_f1_micro", "latency_ms", "layers"]
    assert "0.8" in render.to_plain(front)
    assert pareto(frame, cost="parameters")["trial"].tolist() == [1]
    with pytest.raises(DataError, match="no finished trial"):
        pareto(FRAME)


def replays(*names: str) -> list[dict[str, Any]]:
    """Return rows of random search (regret 0.5 and 0.6) and the swarm (0.1 and 0.2) on the tables ``names``."""
    return [
        {**row(name, float("nan"), seed, "searcher", test_f1_blue=None), "pair": table, "method": name,
         "regret_at_10": base + seed / 10, "regret_at_40": base + seed / 10}
        for table in names for name, base in (("random", 0.5), ("pso", 0.1)) for seed in (0, 1)
    ]  # fmt: skip


def test_searchers_are_ranked_by_regret() -> None:
    table = searchers(frame_of(*replays("t")))
    assert table["searcher"].tolist() == ["pso", "random"]
    assert table.loc[0, "regret at 40"] == "0.150 ± 0.071"
    assert table.attrs["best"] == [[False, False, False, True, True], [False] * 5]
    assert "nan" not in searchers(frame_of(*replays("t")[:1])).to_csv()  # one seed has no spread
    assert searchers(frame_of(*replays("t", "u")))["table"].tolist() == ["t", "t", "u", "u"]
    with pytest.raises(DataError, match="no row has a searcher's regret"):
        searchers(FRAME)


def test_interval_of_regret_stays_above_zero() -> None:
    table = regrets(frame_of(*replays("t"))).set_index(["searcher", "trials"])
    line = table.loc[("random", 40)]
    assert (line["low"], line["high"]) == (0.0, pytest.approx(0.55 + 12.706 * 0.05, abs=1e-3))


def test_replayed_searchers_are_not_methods() -> None:
    table = stage_table(pd.concat([FRAME, pd.DataFrame(replays("t"))]))
    assert not {"pso", "random"} & set(table["stage"])


def test_front_of_losses_falls_with_cost() -> None:
    trials = [(1, 0.5, 10.0), (2, 0.3, 20.0), (3, 0.4, 30.0)]
    rows = [
        row(f"trial {number}", 0.5, kind="trial", trial=number, validation_log_loss=loss, parameters=size)
        for number, loss, size in trials
    ]
    front = pareto(pd.DataFrame(rows), "validation_log_loss", "parameters", "min")
    assert front["trial"].tolist() == [1, 2]
