"""The folder of an exported classifier, as ``kdh_runtime`` reads it.

    model.onnx        the classifier's graph; model.xml and model.bin in OpenVINO's format
    tokenizer.json    its tokenizer
    config.json       labels, thresholds, how texts become the graph's input, fingerprints, the check of the file
    README.md         the model card; model_card.json holds the same facts
    README.new.md     a new card next to one that people filled in
    SHA256SUMS        digests of the files above

The folder is written next to its final place and renamed, so that a folder of that name is whole.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from kdh_runtime.graphs import onnxruntime_graph
from numpy.typing import NDArray

from kdh_ray import hardware
from kdh_ray.data.corpus import Texts
from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.export.check import FLOAT_DIFFERENCE, Check, Exported
from kdh_ray.export.edited_cards import card_digests, keep_edited_cards
from kdh_ray.export.facts import Facts, checkpoint_facts
from kdh_ray.export.int8_graph import count_integer_products, int8_graph
from kdh_ray.export.model_card import write_model_card
from kdh_ray.export.onnx_graph import OPSET, onnx_graph
from kdh_ray.export.openvino import to_openvino
from kdh_ray.extras import require
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


def export_onnx(
    checkpoint: Path,
    folder: Path,
    texts: Texts,
    targets: NDArray[np.int8] | None = None,
    *,
    int8: bool = False,
    openvino: bool = False,
    facts: Facts | None = None,
) -> Exported:
    """Write a checkpoint as an ONNX graph with its tokenizer, configuration and model card, and check it.

    Args:
        checkpoint: Folder of a trained classifier.
        folder: Written as a whole or not at all; replaces an earlier export, except for a model card that was edited.
        texts: On which the graph is compared with the original: validation texts, of which up to 1,000 are used.
        targets: (n_texts, n_labels) of 0 and 1, for a comparison of F1.
        int8: Multiply eight-bit integers. Float32 is kept if more than one decision would change, and more than 0.5 %
            of decisions or micro F1 by more than 0.5 points.
        facts: For the model card: of the checkpoint and its scores. Those of the checkpoint only if None.
        openvino: Write the graph in OpenVINO's format instead, with bfloat16 arithmetic if this processor has AMX.

    Raises:
        CheckpointError: If the checkpoint can't be used, its encoder can't be exported, or the float32 graph differs
            from the original.
        UnavailableError: If a package of the ``export`` extra is missing, or the folder can't be replaced.
    """
    check_packages(openvino)
    check_replaceable(folder)
    classifier = TextClassifier.load(checkpoint)
    # Evenly spread over the split, and the same texts at every export.
    chosen = np.linspace(0, len(texts) - 1, min(len(texts), MOST_TEXTS)).round().astype(np.int64)
    sample = Texts([texts.ids[i] for i in chosen], [texts.texts[i] for i in chosen])
    check = Check(classifier, sample, None if targets is None else targets[chosen])

    def write(place: Path) -> Exported:
        exported = _write(place, classifier, check, "openvino" if openvino else "onnxruntime", int8, facts)
        kept = keep_edited_cards(folder, place, read_digests(folder))
        write_digests(place)
        return replace(exported, kept_cards=kept)

    return replace_folder(folder, write)


def check_packages(openvino: bool) -> None:
    """Check that the packages for an export are installed.

    Raises:
        UnavailableError: Says which one is not.
    """
    require("export", "export", "onnx", "onnxscript", "onnxruntime")
    if openvino:
        require("export to OpenVINO", "openvino", "openvino")


def _write(
    place: Path, classifier: TextClassifier, check: Check, engine: str, int8: bool, facts: Facts | None
) -> Exported:
    card = classifier.card
    if card is None:
        raise CheckpointError("only a classifier that was loaded from a checkpoint can be exported")
    file = place / "model.onnx"
    graph = onnx_graph(classifier.model)
    _save(graph, file)
    exported = Exported("float32", check.compare(onnxruntime_graph(file)), None, file.stat().st_size)
    if not exported.agreement.is_exact:
        raise CheckpointError(
            f"the exported graph must agree with the original within {FLOAT_DIFFERENCE}; it differs:"
            f" {exported.agreement}"
        )
    if engine == "openvino":
        exported = to_openvino(file, check)
    elif int8:
        exported = _to_int8(graph, file, check, exported)
    _save_tokenizer(classifier.tokenizer, place / "tokenizer.json")
    tree = _config(classifier, card, exported, engine)
    write_model_card(place, facts or checkpoint_facts(card), tree)
    tree["cards"] = card_digests(place)
    (place / "config.json").write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return exported


def _to_int8(graph: onnx.ModelProto, file: Path, check: Check, exact: Exported) -> Exported:
    """Replace ``file`` by its int8 form if that decides as the original does."""
    small = file.with_name("int8.onnx")
    _save(_checked_integers(int8_graph(graph)), small)
    agreement = check.compare(onnxruntime_graph(small))
    if not agreement.is_close:
        small.unlink()
        return replace(exact, refused=agreement)
    small.replace(file)
    return Exported("int8", agreement, None, file.stat().st_size)


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
    # The runtime cuts windows and pads batches itself.
    definition.no_truncation()
    definition.no_padding()
    definition.save(str(file))


def _config(classifier: TextClassifier, card: Card, exported: Exported, engine: str) -> dict[str, Any]:
    """Return the content of config.json."""
    reading = classifier.reading.to_json()
    machine = hardware.describe(gpus=False)
    return {
        "format": FORMAT,
        "name": card.name,
        "labels": list(classifier.labels),
        "thresholds": [float(threshold) for threshold in classifier.thresholds],
        "segments": card.segments,
        "max_tokens": reading["max_tokens"],
        "segmenter": reading["segmenter"],
        "windows": {"overlap": reading["overlap"], "combine": reading["combine"]},
        "pad_id": classifier.model.pad_id,
        "engine": engine,
        "precision": exported.precision,
        "opset": OPSET,
        "fingerprint": card.fingerprint,
        "weights": card.weights,
        "corpus": card.corpus,
        "check": {
            **exported.agreement.to_json(),
            "refused": None if exported.refused is None else exported.refused.to_json(),
            "processor": machine.processor,
            "flags": sorted(machine.flags),
            "system": platform.platform(terse=True),
            "versions": {name: version(name) for name in ("kdh-ray", "onnx", engine, "torch")},
        },
    }


def read_digests(folder: Path) -> dict[str, str]:
    """Return the digests that ``SHA256SUMS`` lists; none if a folder has no such file."""
    if not (folder / SUMS).is_file():
        return {}
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def write_digests(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every other file of a folder and its subfolders."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / SUMS)
    lines = [f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_replaceable(folder: Path) -> None:
    """Check that an export can be written to ``folder``, so that it is refused before the classifier is scored.

    Raises:
        UnavailableError: If ``folder`` holds something that is no export, or can't be made.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and ((folder / SUMS).is_file() or not any(folder.iterdir()))):
        raise UnavailableError(f"{folder} must be empty, an earlier export, or not exist")
    place = next(parent for parent in folder.parents if parent.exists())
    if not place.is_dir():
        raise UnavailableError(f"{folder} can't be written: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UnavailableError(f"{folder} can't be written: {place} is read-only for this user")


def replace_folder(folder: Path, write: Callable[[Path], Result]) -> Result:
    """Have ``write`` fill a temporary folder and rename that to ``folder``, so that readers never see half of it.

    Raises:
        UnavailableError: If ``folder`` holds something that is no export, or can't be written.
    """
    check_replaceable(folder)
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise UnavailableError(f"{folder} can't be written: {error.strerror}") from None
    try:
        result = write(temporary)
        temporary.chmod(0o755)  # mkdtemp lets only its owner in
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
