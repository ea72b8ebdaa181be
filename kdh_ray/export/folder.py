"""The folder of an exported classifier, as ``kdh_runtime`` reads it.

model.onnx        the classifier's graph
tokenizer.json    its tokenizer
config.json       labels, thresholds, how texts become the graph's input, fingerprints, the check of the file
README.md         the model card
SHA256SUMS        digests of the files above
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdh_ray import hardware
from kdh_ray.data.corpus import Texts
from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.export.check import FLOAT_DIFFERENCE, Agreement, Check
from kdh_ray.export.int8_graph import count_integer_products, int8_graph
from kdh_ray.export.model_card import model_card
from kdh_ray.export.onnx_graph import OPSET, onnx_graph, require
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.models.checkpoint import Card
from kdh_ray.models.encoders import sha256

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedTokenizerBase

FORMAT = 1
SUMS = "SHA256SUMS"
MOST_TEXTS = 1000  # compared after an export

Result = TypeVar("Result")


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        precision: ``float32`` or ``int8``; float32 also if int8 was asked for and changed too much.
        agreement: With the original, of the file that was written.
        refused: Agreement of the int8 file that was not written; None if there was none.
        bytes: Size of the graph.
    """

    precision: str
    agreement: Agreement
    refused: Agreement | None
    bytes: int


def export_onnx(
    checkpoint: Path,
    folder: Path,
    texts: Texts,
    targets: NDArray[np.int8] | None = None,
    *,
    int8: bool = False,
) -> Exported:
    """Write a checkpoint as an ONNX graph with its tokenizer, configuration and model card, and check it.

    Args:
        checkpoint: Folder of a trained classifier.
        folder: Written as a whole or not at all; replaces an earlier export.
        texts: On which the graph is compared with the original: validation texts, of which up to 1,000 are used.
        targets: (n_texts, n_labels) of 0 and 1, for a comparison of F1.
        int8: Multiply eight-bit integers. Float32 is kept if more than 0.5 % of decisions or micro F1 by more than
            0.5 points would change.

    Raises:
        CheckpointError: If the checkpoint can't be used, its encoder can't be exported, or the float32 graph differs
            from the original.
        UnavailableError: If a package of the ``export`` extra is missing, or the folder can't be replaced.
    """
    require("onnx", "onnxscript", "onnxruntime")
    classifier = TextClassifier.load(checkpoint)
    chosen = np.linspace(0, len(texts) - 1, min(len(texts), MOST_TEXTS)).round().astype(np.int64)
    sample = Texts([texts.ids[i] for i in chosen], [texts.texts[i] for i in chosen])
    check = Check(classifier, sample, None if targets is None else targets[chosen])

    def write(place: Path) -> Exported:
        return _write(place, classifier, check, int8)

    return replace_folder(folder, write)


def _write(place: Path, classifier: TextClassifier, check: Check, int8: bool) -> Exported:
    card = classifier.card
    if card is None:
        raise CheckpointError("only a classifier that was loaded from a checkpoint can be exported")
    file = place / "model.onnx"
    graph = onnx_graph(classifier.model)
    _save(graph, file)
    agreement, refused, precision = check.compare(file), None, "float32"
    if not agreement.is_exact:
        raise CheckpointError(
            f"the exported graph must agree with the original within {FLOAT_DIFFERENCE}; it differs: {agreement}"
        )
    if int8:
        small = place / "int8.onnx"
        _save(_checked_integers(int8_graph(graph)), small)
        closeness = check.compare(small)
        if closeness.is_close:
            small.replace(file)
            agreement, precision = closeness, "int8"
        else:
            small.unlink()
            refused = closeness
    exported = Exported(precision, agreement, refused, file.stat().st_size)
    _save_tokenizer(classifier.tokenizer, place / "tokenizer.json")
    tree = _config(classifier, card, exported)
    (place / "config.json").write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (place / "README.md").write_text(model_card(card, tree), encoding="utf-8")
    write_digests(place)
    return exported


def _checked_integers(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph after a check that its linear layers multiply integers."""
    integers, floats = count_integer_products(graph)
    if integers <= floats:
        raise CheckpointError(f"the int8 graph multiplies {integers} weights as integers and {floats} as floats")
    return graph


def _save(graph: onnx.ModelProto, file: Path) -> None:
    """Write a graph without the traces of its making, which hold paths of this machine."""
    import onnx

    slim = onnx.ModelProto()
    slim.CopyFrom(graph)
    for node in slim.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for values in (slim.graph.value_info, slim.metadata_props, slim.graph.metadata_props):
        del values[:]
    onnx.save(slim, file)


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    from tokenizers import Tokenizer

    definition = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    definition.no_truncation()
    definition.no_padding()
    definition.save(str(file))


def _config(classifier: TextClassifier, card: Card, exported: Exported) -> dict[str, Any]:
    """Return the content of config.json."""
    reading = classifier.reading.to_json()
    machine = hardware.describe(gpus=False)
    return {
        "format": FORMAT,
        "labels": list(classifier.labels),
        "thresholds": [float(threshold) for threshold in classifier.thresholds],
        "segments": card.segments,
        "max_tokens": reading["max_tokens"],
        "segmenter": reading["segmenter"],
        "windows": {"overlap": reading["overlap"], "combine": reading["combine"]},
        "pad_id": classifier.model.pad_id,
        "precision": exported.precision,
        "opset": OPSET,
        "fingerprint": card.fingerprint,
        "weights": card.weights,
        "corpus": card.corpus,
        "check": {
            **exported.agreement.to_json(),
            "refused_int8": None if exported.refused is None else exported.refused.to_json(),
            "processor": machine.processor,
            "flags": sorted(machine.flags),
            "system": platform.platform(terse=True),
            "versions": {name: version(name) for name in ("kdh-ray", "onnx", "onnxruntime", "torch")},
        },
    }


def write_digests(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every other file of a folder."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != SUMS)
    lines = [f"{sha256(file)}  {file.name}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def replace_folder(folder: Path, write: Callable[[Path], Result]) -> Result:
    """Have ``write`` fill a temporary folder and rename that to ``folder``, so that readers never see half of it.

    Raises:
        UnavailableError: If ``folder`` holds something that is no export, or can't be written.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and ((folder / SUMS).is_file() or not any(folder.iterdir()))):
        raise UnavailableError(f"{folder} must be empty, an earlier export, or not exist")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise UnavailableError(f"{folder} can't be written: {error.strerror}") from None
    try:
        result = write(temporary)
        temporary.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
            os.replace(folder, old / folder.name)
            shutil.rmtree(old, ignore_errors=True)
        os.replace(temporary, folder)
    except OSError as error:
        raise UnavailableError(f"{folder} can't be written: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result
