"""Batch prediction: the checkpoint's own words on every document, resumable, and faults in one line."""

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kdh_ray.cli.main import main
from kdh_ray.cluster.session import ray_session
from kdh_ray.config import JobConfig
from kdh_ray.data import Corpus
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.inference import predict_files
from kdh_ray.inference.block_worker import BlockWorker
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "checkpoint"
    model = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    card = Card(["alpha", "beta", "gamma"], [0.5, 0.45, 0.55], max_tokens=32, segments=False, corpus={})
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), card)
    return folder


@pytest.fixture
def notes(tmp_path: Path, corpus: Corpus) -> Path:
    split = corpus.splits["train"]
    (tmp_path / "notes").mkdir()
    frame = pd.DataFrame({"note": split.ids, "text": split.texts})
    frame[:30].to_parquet(tmp_path / "notes" / "a.parquet")
    frame[30:].to_json(tmp_path / "notes" / "b.jsonl", orient="records", lines=True)
    return tmp_path / "notes"


def read(output: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted(output.glob("block-*"))], ignore_index=True)


def test_every_document_gets_the_checkpoints_prediction(
    checkpoint: Path, notes: Path, tmp_path: Path, corpus: Corpus
) -> None:
    options = {"id_column": "note", "logits": True, "precision": "float32"}
    done = predict_files(checkpoint, str(notes), tmp_path / "out", block=8, local=True, **options)
    assert (done.documents, done.blocks, done.found) == (48, 7, 0)
    frame, split = read(tmp_path / "out"), corpus.splits["train"]
    expected = TextClassifier.load(checkpoint).predict(split.texts)
    assert frame["id"].tolist() == list(split.ids)
    labels = ["alpha", "beta", "gamma"]
    np.testing.assert_allclose(frame[[f"logit.{name}" for name in labels]], expected.logits.documents, atol=1e-5)
    np.testing.assert_allclose(frame[[f"probability.{name}" for name in labels]], expected.probabilities, atol=1e-6)
    wanted = [[name for name, p, t in zip(labels, row, (0.5, 0.45, 0.55), strict=True) if p >= t]
              for row in expected.probabilities]  # fmt: skip
    assert [list(found) for found in frame["labels"]] == wanted


def test_a_killed_prediction_goes_on_with_the_other_blocks(
    checkpoint: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(checkpoint, str(notes), tmp_path / "out", block=8, local=True, progress=killed)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("block-*")}
    assert len(before) == 3
    done = predict_files(checkpoint, str(notes), tmp_path / "out", block=8, local=True)
    assert (done.found, done.blocks, done.documents) == (3, 7, 48 - 24)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    assert read(tmp_path / "out")["id"].is_unique
    monkeypatch.setattr(BlockWorker, "__init__", None)  # no model is loaded where nothing is left
    assert predict_files(checkpoint, str(notes), tmp_path / "out", block=8, local=True).documents == 0


def test_another_prediction_is_not_mixed_in(checkpoint: Path, notes: Path, tmp_path: Path) -> None:
    predict_files(checkpoint, str(notes), tmp_path / "out", local=True)
    with pytest.raises(DataError, match=r"holds another prediction \(block, logits differ\)"):
        predict_files(checkpoint, str(notes), tmp_path / "out", local=True, logits=True, block=8)


def test_buckets_hold_checkpoint_input_and_output(checkpoint: Path, notes: Path, bucket: str) -> None:
    import pyarrow.fs
    import pyarrow.parquet

    from kdh_ray.storage import locate

    filesystem, root = locate(bucket)
    pyarrow.fs.copy_files(str(checkpoint), f"{root}/checkpoint", destination_filesystem=filesystem)
    pyarrow.fs.copy_files(str(notes), f"{root}/notes", destination_filesystem=filesystem)
    predict_files(f"{bucket}/checkpoint", f"{bucket}/notes/*.parquet", f"{bucket}/out", block=16, local=True)
    table = pyarrow.parquet.read_table(f"{root}/out/block-000001.parquet", filesystem=filesystem)
    assert table["id"].to_pylist() == [f"a.parquet#{i}" for i in range(17, 31)]


def test_no_text_gets_into_the_output(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "verysecret"}))
    predict_files(checkpoint, str(tmp_path / "a.jsonl"), tmp_path / "out", local=True)
    assert not any(b"verysecret" in file.read_bytes() for file in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "{notes}/none-*.csv"], "no file"),
        (["--input", "{notes}", "--text-column", "body"], "no column 'body'"),
        (["--input", "{notes}", "--id-column", "text"], "can't be the texts; got 'text' for both"),
        (["--input", "{notes}", "--block", "0"], "--block must be 1 or more; got 0"),
        (["--input", "nonsense://x"], "can't be opened"),
        ([], "--input and --output must be given together"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    words = [word.format(notes=notes) for word in arguments]
    assert main(["predict", str(checkpoint), *words, "--output", str(tmp_path / "out"), "--local"]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_output_named_like_a_file_is_refused(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out.xlsx")
    assert main(["predict", str(checkpoint), "--input", str(notes), "--output", output, "--local"]) == 2
    message = f"an output is a folder or a file named .parquet, .csv, .jsonl; got {output}"
    assert message in capfd.readouterr().err


def test_a_folder_that_is_no_checkpoint_is_refused_at_once(notes: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(notes), "--input", str(notes), "--output", str(notes / "out")]) == 2
    assert "is not a checkpoint" in capfd.readouterr().err
    assert not (notes / "out").exists()


def test_lines_of_stdin_are_predicted_without_ray(
    checkpoint: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = list(corpus.splits["test"].texts[:5])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts) + "\n"))
    assert main(["predict", str(checkpoint), "--batch-size", "2", "--precision", "float32"]) == 0
    results = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    expected = TextClassifier.load(checkpoint).predict(texts).probabilities
    received = [[result["probabilities"][name] for name in ("alpha", "beta", "gamma")] for result in results]
    np.testing.assert_allclose(received, expected, atol=1e-5)
    assert results[0]["labels"] == [name for name, p, t in zip(("alpha", "beta", "gamma"), expected[0],
                                                               (0.5, 0.45, 0.55), strict=True) if p >= t]  # fmt: skip


def test_lines_of_stdin_have_logits_on_request(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the cell\n"))
    assert main(["predict", str(checkpoint), "--logits", "--precision", "float32"]) == 0
    logits = json.loads(capfd.readouterr().out)["logits"]
    expected = TextClassifier.load(checkpoint).predict(["the cell"]).logits.documents[0]
    assert [logits[name] for name in ("alpha", "beta", "gamma")] == pytest.approx(expected, abs=1e-5)


def test_lines_of_stdin_end_where_the_output_is_no_number(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier = TextClassifier.load(checkpoint)
    with torch.no_grad():
        classifier.model.document_head.bias[1] = float("nan")
    monkeypatch.setattr("kdh_ray.inference.classifier.load_classifier", lambda *_, **__: classifier)
    monkeypatch.setattr("sys.stdin", io.StringIO("the cell\n"))
    assert main(["predict", str(checkpoint)]) == 2
    assert capfd.readouterr() == ("", f"kdh-ray: {checkpoint}: the classifier's output is not a number\n")


def test_stdin_is_utf_8_whatever_the_locale_says(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def predicted(text: bytes) -> int:
        stdin = io.TextIOWrapper(io.BytesIO(text), encoding="ascii", errors="surrogateescape")  # as LC_ALL=C has it
        monkeypatch.setattr("sys.stdin", stdin)
        return main(["predict", str(checkpoint), "--precision", "float32"])

    assert predicted(b"the cell") == 0
    plain = capsys.readouterr().out
    assert predicted(b"\xef\xbb\xbfthe cell\r\n") == 0
    assert capsys.readouterr().out == plain
    assert predicted("the cell é".encode("latin-1")) == 2
    assert capsys.readouterr().err == "kdh-ray: stdin must be UTF-8\n"


@pytest.mark.ray
@pytest.mark.slow
def test_ray_data_gives_the_same_and_a_workers_fault_is_one_line(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(checkpoint), "--input", str(notes), "--block", "8", "--workers", "1"]
    words += ["--precision", "float32"]
    with ray_session(JobConfig(), cpus=1):  # one for both
        assert main([*words, "--output", str(tmp_path / "ray")]) == 0
        streams = capfd.readouterr()
        assert "7 blocks; 48 documents" in streams.out
        assert "core_worker" not in streams.err
        assert main([*words, "--text-column", "body", "--output", str(tmp_path / "bad")]) == 2
    assert any(line.startswith("kdh-ray:") and "body" in line for line in capfd.readouterr().err.splitlines())
    predict_files(checkpoint, str(notes), tmp_path / "here", block=8, local=True, precision="float32")
    pd.testing.assert_frame_equal(read(tmp_path / "ray"), read(tmp_path / "here"), atol=1e-5)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3])
def test_dead_workers_are_replaced_up_to_a_limit(
    checkpoint: Path, tmp_path: Path, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.jsonl").write_text('{"text": "the cell"}\n' * 12)
    predict = BlockWorker.predict

    class Killed(BlockWorker):
        def predict(self, number: int) -> tuple[int, int]:
            mark = Path(self.task.output.place) / f".killed-{number}"
            killed = len(list(mark.parent.glob(".killed-*-*")))
            if number == 2 and killed < kills:
                mark.with_name(f"{mark.name}-{killed}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return predict(self, number)

    monkeypatch.setattr("kdh_ray.inference.batch.BlockWorker", Killed)
    with ray_session(JobConfig(), cpus=1):
        if kills < 3:
            done = predict_files(checkpoint, str(tmp_path / "notes.jsonl"), tmp_path / "out", block=3)
            assert (done.documents, done.blocks) == (12, 4)
        else:
            with pytest.raises(UnavailableError, match="3 workers died one after the other"):
                predict_files(checkpoint, str(tmp_path / "notes.jsonl"), tmp_path / "out", block=3)


@pytest.mark.ray
@pytest.mark.slow
def test_one_block_is_predicted_on_a_cluster_of_several_machines(checkpoint: Path, notes: Path, tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        with ray_session(JobConfig(address=cluster.address)):
            assert ray.cluster_resources()["CPU"] == 2  # more than any machine has
            assert predict_files(checkpoint, str(notes / "a.parquet"), tmp_path / "out").documents == 30
    finally:
        cluster.shutdown()
