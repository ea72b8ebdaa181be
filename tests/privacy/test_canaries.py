"""No text leaves its files: words planted in every document are looked for in everything that the program writes."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from workplace import CANARIES, INPUTS, Workplace, ask, until, write_inputs

from kdh_ray.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]  # a run, a search and fourteen verbs


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Return a workplace in which everything has been done once."""
    ray = Path(tempfile.mkdtemp(prefix="kr", dir="/tmp"))  # paths of sockets may have 107 characters
    place = Workplace(tmp_path_factory.mktemp("canaries"), ray)
    try:
        write_inputs(place.folder)
        search(place)
        use(place)
        serve(place)
        refuse(place)
        yield place
    finally:
        shutil.rmtree(ray, ignore_errors=True)


def search(place: Workplace) -> None:
    """Train a teacher, interrupt the search, resume it with a failing trial, and look at the dashboard meanwhile."""
    first = place.start("interrupted", "tune", "my.yaml", "--out", "run", "-v")
    run = RunFolder(place.folder / "run")
    until(lambda: "running" in trial_states(run), first, "no trial started")
    (place.folder / "output-dashboard.txt").write_text(asked(dashboard(run)))
    first.send_signal(signal.SIGINT)
    assert first.wait(120) == 130, place.output("interrupted")
    assert not run.best.stage("student").checkpoint.exists(), "the search was over when it was interrupted"
    place.run("tune", "tune", "my.yaml", "--out", "run", "--resume", "-v")


def trial_states(run: RunFolder) -> list[str]:
    """Return the states of the trials so far."""
    ledger = run.search.path / "search.json"
    return [trial["status"] for trial in json.loads(ledger.read_text())["trials"]] if ledger.exists() else []


def dashboard(run: RunFolder) -> str:
    """Return the dashboard's address."""
    notes = [json.loads(line).get("text", "") for line in run.events.read_text().splitlines()]
    return next(note.split()[-1] for note in notes if note.startswith("Ray dashboard:"))


def asked(dashboard: str) -> str:
    """Return the dashboard's answers about tasks, actors, workers and jobs."""
    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    answers = []
    for kind in ("tasks", "actors", "workers", "jobs", "objects"):
        request = Request(f"{dashboard}/api/v0/{kind}?detail=1", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=30) as answer:
            answers.append(answer.read().decode())
    return "\n".join(answers)


def use(place: Workplace) -> None:
    """Predict files and lines, distil from unlabelled text in both ways, evaluate, and write a report."""
    checkpoint = str(RunFolder(place.folder / "run").best.stage("student").checkpoint)
    place.run("predict", "predict", checkpoint, "--input", "more.jsonl", "--output", "predictions", "--logits")
    place.run("lines", "predict", checkpoint, text=f"{CANARIES['stdin']} pain .\n")
    more = ["--set", "data.unlabelled=[predictions]", "--out", "unlabelled", "--local"]
    place.run("unlabelled", "run", "my.yaml", "--set", "tune.trials=null", *more)
    own_teachers = ["--set", "data.unlabelled.path=more.jsonl", "--out", "own-teachers"]
    place.run("own-teachers", "run", "my.yaml", "--set", "tune.trials=null", *own_teachers)
    place.run("evaluate", "evaluate", checkpoint, "my.yaml", "--json")
    place.run("report", "report", "run", "unlabelled", "-o", "report.html")
    place.run("results", "results", "run", "--all", "--format", "csv")
    place.run("export", "export", checkpoint, "student", "--int8")
    place.run("describe", "corpus", "describe", "my.yaml", "--encoder", "encoder")


def serve(place: Workplace) -> None:
    """Label texts over HTTP, from the checkpoint and from its export; each service refuses a request too."""
    checkpoint = str(RunFolder(place.folder / "run").best.stage("student").checkpoint)
    services = {
        "serve": ("kdh_ray.cli.main", "serve", checkpoint, "--local"),
        "runtime": ("kdh_runtime", "serve", "student"),
    }
    for name, command in services.items():
        with place.serve(name, *command, "--audit", f"audit-{name}.jsonl") as url:
            text = f"{CANARIES['served']} pain ."
            assert ask(url, {"texts": [text], "evidence": True})[0] == 200
            for wrong in ({"texts": [text, 3]}, {text: [text]}, {"texts": [text], "ids": [text]}, text):
                status, answer = ask(url, wrong)
                assert status == 422
                assert CANARIES["served"] not in str(answer)
            with urlopen(f"{url}/metrics", timeout=60) as answer:
                (place.folder / f"metrics-{name}.txt").write_bytes(answer.read())
        assert json.loads((place.folder / f"audit-{name}.jsonl").read_text())["texts"] == 1


def refuse(place: Workplace) -> None:
    """Give verbs what they must refuse, with text where names should be."""
    checkpoint = str(RunFolder(place.folder / "run").best.stage("student").checkpoint)
    headerless = ["--set", "data.path=headerless.csv"]
    place.run("no-header", "run", "my.yaml", *headerless, "--out", "refused", "--local", code=2)
    place.run("no-column", "predict", checkpoint, "--input", "headerless.csv", "--output", "refused", "--local", code=2)
    place.run("labels", "run", "my.yaml", "--set", "data.label_columns=[text]", "--out", "refused", "--local", code=2)
    place.run("surrogate", "predict", checkpoint, text=f"{CANARIES['refused']}\n", code=0)


def planted_words(file: Path) -> set[str]:
    """Return the planted words in a file, whatever it is compressed with."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        content = str(pq.read_table(file).to_pydict()).encode()
    elif file.suffix == ".gz":
        content = gzip.decompress(file.read_bytes())
    else:
        content = file.read_bytes()
    return {use for use, word in CANARIES.items() if word.encode() in content}


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]


def test_planted_words_are_in_the_inputs(workplace: Workplace) -> None:
    assert {use for name in INPUTS for use in planted_words(workplace.folder / name)} == {
        "train", "unlabelled", "predicted", "headerless",
    }  # fmt: skip


def test_no_written_file_holds_a_text(workplace: Workplace) -> None:
    written = [file for file in files_below(workplace.folder) if file.name not in INPUTS]
    kinds = {file.suffix for file in written}
    assert {".parquet", ".safetensors", ".json", ".jsonl", ".html", ".txt", ".yaml", ".arrow", ".npy"} <= kinds
    assert {str(file): found for file in written if (found := planted_words(file))} == {}


def test_no_log_of_ray_holds_a_text(workplace: Workplace) -> None:
    logs = files_below(workplace.ray)
    assert any("worker" in file.name for file in logs)
    assert {str(file): found for file in logs if (found := planted_words(file))} == {}


def test_the_search_failed_once_and_went_on(workplace: Workplace) -> None:
    from kdh_ray import load_runs

    trials = load_runs(workplace.folder / "run").query("kind == 'trial'")
    assert len(trials) == 3
    assert set(trials["status"]) >= {"ok"}
    assert (workplace.folder / "output-dashboard.txt").stat().st_size > 1000
