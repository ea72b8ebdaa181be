"""A classifier in the files of the sentence-transformers library, for whoever serves models with it.

    config.json, model.safetensors, tokenizer.json, ...    the encoder
    1_Pooling/config.json                                  mean of the hidden states, or that of the first token
    2_Dense/config.json, model.safetensors                 the linear head: it returns the logits
    modules.json, sentence_bert_config.json                the order of the three, and the longest text

Its stock code then computes the logits of a classifier without segments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from kdh_ray.errors import CheckpointError
from kdh_ray.export.folder import replace_folder, write_digests
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.models.quiet import quiet

_PACKAGE = "sentence_transformers.models"  # every version of the library finds its modules by these names


def export_sentence_transformers(checkpoint: Path, folder: Path) -> None:
    """Write a checkpoint so that ``SentenceTransformer(folder).encode(texts)`` returns its logits.

    The library cuts a text at ``max_tokens``; it knows neither windows nor thresholds. These are in
    ``classifier.json`` for the caller.

    Raises:
        CheckpointError: If the checkpoint can't be used, or combines the logits of a text's parts, which the library
            has no module for.
        UnavailableError: If the folder can't be replaced.
    """
    classifier = TextClassifier.load(checkpoint)
    check_reads_whole(classifier, checkpoint, "sentence-transformers")
    replace_folder(folder, lambda place: _write(place, classifier, checkpoint))


def check_reads_whole(classifier: TextClassifier, checkpoint: Path, library: str) -> None:
    """Check that the logits of a classifier are those of whole texts.

    Raises:
        CheckpointError: If it combines the logits of a text's parts.
    """
    if classifier.model.segment_head is not None:
        raise CheckpointError(
            f"{checkpoint} combines the logits of a text's parts, which {library} can't express: export it to onnx, or"
            " train with data.segments=false"
        )


def _write(place: Path, classifier: TextClassifier, checkpoint: Path) -> None:
    with quiet():
        classifier.model.encoder.save_pretrained(place)
        classifier.tokenizer.save_pretrained(place)
    head = classifier.model.document_head
    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    _dump(
        place / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{_PACKAGE}.{kind}"}
            for number, (path, kind) in enumerate(modules.items())
        ],
    )
    _dump(
        place / "sentence_bert_config.json",
        {"max_seq_length": classifier.reading.max_tokens, "do_lower_case": False},
    )
    _dump(
        place / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": head.in_features,
            "pooling_mode_cls_token": classifier.model.pooling == "cls",
            "pooling_mode_mean_tokens": classifier.model.pooling == "mean",
        },
    )
    dense = {"in_features": head.in_features, "out_features": head.out_features, "bias": True}
    _dump(place / "2_Dense" / "config.json", dense | {"activation_function": "torch.nn.modules.linear.Identity"})
    weights = {f"linear.{name}": value.contiguous() for name, value in head.state_dict().items()}
    save_file(weights, place / "2_Dense" / "model.safetensors")
    (place / "classifier.json").write_bytes((checkpoint / "classifier.json").read_bytes())
    write_digests(place)


def _dump(file: Path, content: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
