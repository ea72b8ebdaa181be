"""The files of an exported classifier.

    model.onnx        the classifier's graph; model.xml and model.bin if OpenVINO runs it
    tokenizer.json    its tokenizer
    config.json       labels, thresholds and how texts become the graph's input
    README.md         the model card
    SHA256SUMS        digests of the files above, as ``sha256sum --check`` reads them

No file holds code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdh_runtime.errors import FolderError

FORMAT = 1
SEGMENTER_VERSION = 1
SUMS = "SHA256SUMS"
NEEDED = {
    "onnxruntime": ("config.json", "model.onnx", "tokenizer.json"),
    "openvino": ("config.json", "model.bin", "model.xml", "tokenizer.json"),
}
"""Engine -> the files that it can't do without."""


@dataclass(frozen=True)
class Config:
    """The meaning of the graph's outputs, and how texts become its input.

    Attributes:
        labels: In the order of the logits.
        thresholds: The probability from which each label counts as present.
        max_tokens: Tokens that the graph reads at once, special tokens included.
        segments: Whether the graph reads the parts of documents.
        rule: Divides texts into parts: ``sentences``, ``lines`` or ``none``.
        language: ISO 639 code for the division into sentences.
        overlap: Tokens that neighbouring windows of a long document share.
        combine: How the logits of a document's windows become the document's.
        pad_id: Token id of padding.
        fingerprint: Identity of the classifier; that of the checkpoint it was made from.
        precision: ``float32``, ``int8`` or ``bfloat16``.
        engine: ``onnxruntime`` or ``openvino``.
        name: For people to read; may be empty.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    max_tokens: int
    segments: bool
    rule: Literal["sentences", "lines", "none"]
    language: str
    overlap: int
    combine: Literal["max", "mean"]
    pad_id: int
    fingerprint: str
    precision: str
    engine: str = "onnxruntime"
    name: str = ""

    def reading(self) -> dict[str, Any]:
        """Return how texts become the graph's input, as ``classifier.json`` says it for kdh-ray."""
        segmenter = {"rule": self.rule, "language": self.language, "version": SEGMENTER_VERSION}
        windows = {"overlap": self.overlap, "combine": self.combine}
        return {"max_tokens": self.max_tokens, "segmenter": segmenter, **windows}


def read_config(folder: str | os.PathLike[str]) -> Config:
    """Check every file of an exported classifier against its digest and return the configuration.

    Raises:
        FolderError: If a file is missing, was changed, or belongs to another format.
    """
    root = Path(folder)
    digests = _check_digests(root)
    file = root / "config.json"
    try:
        tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if tree.get("format") != FORMAT:
            raise FolderError(f"{file}: format must be {FORMAT}; got {tree.get('format')!r}")
        segmenter, windows = tree["segmenter"], tree["windows"]
        if segmenter["version"] != SEGMENTER_VERSION or segmenter["rule"] not in ("sentences", "lines", "none"):
            raise FolderError(f"{file}: this version of kdh-runtime has no segmenter {segmenter}")
        engine = tree["engine"]
        if engine not in NEEDED:
            raise FolderError(f"{file}: this version of kdh-runtime has no engine {engine!r}")
        if missing := [name for name in NEEDED[engine] if name not in digests]:
            raise FolderError(f"{root / SUMS} must list {', '.join(NEEDED[engine])}; it lacks {', '.join(missing)}")
        return _checked(file, Config(
            _items(tree["labels"]), _items(tree["thresholds"]), tree["max_tokens"], bool(tree["segments"]),
            segmenter["rule"], segmenter["language"], windows["overlap"], windows["combine"], tree["pad_id"],
            tree["fingerprint"], tree["precision"], engine, tree.get("name", ""),
        ))  # fmt: skip
    except FolderError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = " ".join(repr(error).split())[:200]
        raise FolderError(f"{file} is not the configuration of an exported classifier: {reason}") from None


def _checked(file: Path, config: Config) -> Config:
    """Return the configuration after a check of its values, which may come from anybody.

    Raises:
        FolderError: States the rule that a value breaks.
    """
    rules = {
        "labels must be different names": _are_names(config.labels) and len(set(config.labels)) == len(config.labels),
        "thresholds must be a number from 0 to 1 for each label": len(config.thresholds) == len(config.labels)
        and all(_is_number(value) and 0 <= value <= 1 for value in config.thresholds),
        "max_tokens must be 3 or more": _is_whole(config.max_tokens, 3),
        "windows.overlap must be 0 or more": _is_whole(config.overlap, 0),
        "windows.combine must be max or mean": config.combine in ("max", "mean"),
        "pad_id must be 0 or more": _is_whole(config.pad_id, 0),
        "segmenter.language must be a code such as en": re.fullmatch(r"[A-Za-z0-9-]{1,20}", config.language),
        "fingerprint, precision and name must be strings": all(
            isinstance(value, str) for value in (config.fingerprint, config.precision, config.name)
        ),
    }
    for rule, holds in rules.items():
        if not holds:
            raise FolderError(f"{file}: {rule}")
    return config


def _items(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError("labels and thresholds must be lists")
    return tuple(value)


def _are_names(values: tuple[Any, ...]) -> bool:
    return len(values) > 0 and all(isinstance(value, str) and value for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_digests(folder: Path) -> set[str]:
    """Compare every listed file with its digest and return the names."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise FolderError(f"{folder} is not an exported classifier: {SUMS} can't be read") from None
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, digest in digests.items():
        if Path(name).name != name:
            raise FolderError(f"{folder / SUMS} must list files of its own folder; got {name!r}")
        received = _sha256(folder / name)
        if received != digest:
            raise FolderError(f"{folder / name}: SHA-256 must be {digest}; got {received}")
    return set(digests)


def _sha256(file: Path) -> str:
    if file.exists() and not file.is_file():  # a device or a pipe may never end
        raise FolderError(f"{file} must be a file")
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FolderError(f"{file} can't be read: {error.strerror}") from None
