"""Rich output that is piped."""

import pytest
from rich.table import Table

from kdh_ray.cli.console import stdout_console
from kdh_ray.cli.progress import print_event


def test_piped_tables_have_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    with stdout_console() as console:
        table = Table("label", "f1", box=None)
        table.add_row("[pain", "x")
        console.print(table)
        console.print("a long line " * 30, markup=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert not [line for line in lines if line != line.rstrip() or "\x1b" in line]


def test_a_finished_stage_says_which_weights_it_kept(capsys: pytest.CaptureFixture[str]) -> None:
    print_event({"kind": "done", "stage": "student", "score": 0.5, "seconds": 1.0, "epoch": 2})
    print_event({"kind": "done", "stage": "mean", "score": 0.5, "seconds": 1.0})
    said = capsys.readouterr().err.splitlines()
    assert said == ["student: validation micro F1 50.0, weights of epoch 2", "mean: validation micro F1 50.0"]
