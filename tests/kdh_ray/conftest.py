"""A tiny encoder and a tiny corpus, made on the fly, so that real code paths are tested without waiting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kdh_ray.data import Corpus, Segments, Split
from kdh_ray.models.quiet import quiet

sys.path.insert(0, str(Path(__file__).parent / "support"))  # helpers that several test folders import

LABELS = ["alpha", "beta", "gamma"]
FILLER = ["the", "cell", "shows", "growth", "in", "patients", "with", "early", "disease", "."]


torch.set_num_threads(1)  # the same sums in the same order on every machine, in modules' fixtures too


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # also after a test whose code sets another number


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a four-layer BERT of 32 hidden units over the words of ``corpus``."""
    return make_encoder(tmp_path_factory.mktemp("encoder"), FILLER + LABELS)


def make_encoder(folder: Path, words: list[str], hidden: int = 32, layers: int = 4) -> Path:
    """Write an untrained BERT and its tokenizer as transformers does."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    with quiet():
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Documents of three sentences; a label holds where its name is in a sentence."""
    return make_corpus()


def make_corpus(sizes: tuple[int, int, int] = (48, 24, 24), segments: bool = True, seed: int = 0) -> Corpus:
    """A corpus that a bag of words solves and an untrained encoder learns in a few epochs."""
    generator = np.random.default_rng(seed)
    names = ("train", "validation", "test")
    splits = {name: _split(name, size, segments, generator) for name, size in zip(names, sizes, strict=True)}
    return Corpus("tiny", LABELS, splits)


def _split(name: str, size: int, segments: bool, generator: np.random.Generator) -> Split:
    texts, spans, targets = [], [], []
    for _ in range(size):
        sentences, marks = [], []
        for _ in range(3):
            words = list(generator.choice(FILLER[:-1], size=int(generator.integers(2, 6))))
            present = int(generator.integers(0, 6))  # a label in half of the sentences
            if present < len(LABELS):
                words.insert(int(generator.integers(0, len(words))), LABELS[present])
            sentences.append(" ".join(words) + " .")
            marks.append([int(j == present) for j in range(len(LABELS))])
        starts = np.cumsum([0, *(len(sentence) + 1 for sentence in sentences[:-1])])
        texts.append(" ".join(sentences))
        spans.append(np.array([[a, a + len(s)] for a, s in zip(starts, sentences, strict=True)], dtype=np.int32))
        targets.append(np.array(marks, dtype=np.int8))
    documents = np.array([rows.max(0) for rows in targets], dtype=np.int8)
    ids = [f"{name}-{i}" for i in range(size)]
    return Split(ids, texts, documents, Segments(spans, targets) if segments else None)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a real S3 server on this machine, with a bucket named ``bucket``."""
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"access_key": "testing", "secret_key": "testing", "region": "us-east-1"}
    S3FileSystem(endpoint_override=address, allow_bucket_creation=True, **keys).create_dir("bucket")
    yield address
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of its own in the bucket; the environment says where the server is and who asks."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"s3://bucket/{request.node.name.replace('[', '-').replace(']', '')}"
