"""The model card of an exported classifier: README.md with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

from typing import Any

from kdh_ray.models.checkpoint import Card

OPEN = "*To be filled in by the people responsible for this classifier.*"


def model_card(card: Card, config: dict[str, Any]) -> str:
    """Return the model card as Markdown.

    Facts come from the checkpoint and the export. What only people can know is left visibly open.

    Args:
        card: Of the checkpoint.
        config: Content of the exported ``config.json``.
    """
    return "\n".join(
        [
            *_front_matter(),
            f"# {card.notes.get('run', 'Classifier')}: {card.notes.get('stage', 'multi-label text classifier')}",
            "",
            f"A multi-label text classifier with {len(card.labels)} labels, in {config['precision']} for"
            f" {config['engine']}.",
            "",
            *_use(),
            *_labels(card),
            *_reading(config),
            *_training(card),
            *_check(config),
            *_open_questions(),
        ]
    )


def _front_matter() -> list[str]:
    tags = ["---", "pipeline_tag: text-classification", "library_name: kdh-runtime", "tags:"]
    return [*tags, "- multi-label", "- onnx", "- knowledge-distillation", "---", ""]


def _use() -> list[str]:
    return [
        "```python",
        "from kdh_runtime import load  # pip install kdh-runtime; needs neither torch nor a network",
        "",
        'prediction = load("FOLDER").predict(["A text.", "Another one."])',
        "prediction.labels, prediction.probabilities, prediction.evidence",
        "```",
        "",
    ]


def _labels(card: Card) -> list[str]:
    rows = [
        f"| {_cell(label)} | {threshold:.3f} |"
        for label, threshold in zip(card.labels, card.thresholds, strict=True)
    ]  # fmt: skip
    return ["## Labels", "", "A label is present if its probability reaches its threshold.", "",
            "| label | threshold |", "|---|---|", *rows, ""]  # fmt: skip


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _reading(config: dict[str, Any]) -> list[str]:
    windows, segmenter = config["windows"], config["segmenter"]
    parts = {
        "sentences": f"divided into sentences (language: {segmenter['language']})",
        "lines": "divided at line ends",
        "none": "read whole",
    }
    return [
        "## How a text is read", "",
        f"A text is {parts[segmenter['rule']]}. The graph reads {config['max_tokens']} tokens at once; a longer text is"
        f" read in windows that share {windows['overlap']} tokens, and its logits are the {windows['combine']} over"
        " them.", "",
    ]  # fmt: skip


def _training(card: Card) -> list[str]:
    facts = {"corpus": card.corpus.get("name"), "corpus fingerprint": card.corpus.get("fingerprint")}
    facts |= {name.replace("_", " "): value for name, value in card.notes.items()}
    lines = [f"- {name}: {_cell(str(value))}" for name, value in facts.items() if value is not None]
    return ["## Training and validation", "", *lines, f"- checkpoint fingerprint: {card.fingerprint}", ""]


def _check(config: dict[str, Any]) -> list[str]:
    check = config["check"]
    scores = ""
    if check["f1_original"] is not None:
        scores = f" Micro F1 is {100 * check['f1_exported']:.2f}; the original's is {100 * check['f1_original']:.2f}."
    lines = [
        f"On {check['texts']} texts, logits are within {check['largest_difference']:.1e} of the original's, and"
        f" {100 * check['flipped']:.2f} % of decisions differ.{scores}",
    ]
    if check["refused"] is not None:
        share = 100 * check["refused"]["flipped"]
        lines.append(f"A graph of lower precision was made and not kept: it changed {share:.2f} % of decisions.")
    return ["## Check of the exported file", "", *lines, f"Checked on: {check['processor']}.", ""]


def _open_questions() -> list[str]:
    topics = (
        "Intended use, and uses to avoid",
        "People, sites and dates that the training texts came from",
        "Groups on which it was evaluated, and where it is weaker",
        "Licences of encoder, corpus and this classifier",
        "Contact, and how to report a wrong label",
    )
    return [line for topic in topics for line in (f"## {topic}", "", OPEN, "")]
