"""The model card of a classifier: Markdown with the metadata that the Hugging Face hub reads.

Sections follow the applied model card of the Coalition for Health AI (CHAI). Facts come from the checkpoint, its corpus
and the export. What only people can know is left visibly open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdh_ray.export.check import LIMITS

OPEN = "*To be filled in by the people responsible for this classifier.*"
UNKNOWN = "not known here"
CARDS = ("README.md", "model_card.json")
_DIGITS = 4
# Topic -> questions of the applied model card.
TOPICS = {
    "Intended use, and uses to avoid": (
        "Who uses the labels, in which workflow, and who checks them?",
        "On which patients, documents and languages may it be used, and on which not?",
        "Which harm can a wrong or a missing label do?",
    ),
    "People, sites and dates that the training texts came from": (
        "Who wrote the texts and who labelled them, and how far do annotators agree?",
        "Which groups of patients are missing?",
    ),
    "Groups on which it was evaluated, and where it is weaker": (
        "Which groups matter for its use, and who decided that?",
        "Was it tested where it will be used, and on which dates?",
    ),
    "Licences of encoder, corpus and this classifier": ("Under which licence may this classifier be used?",),
    "Contact, and how to report a wrong label": (
        "Who maintains it, who paid for it, and who approved its use?",
        "How is it monitored, and when is it retired?",
    ),
}


def model_card(facts: Mapping[str, Any], exported: Mapping[str, Any] | None = None) -> str:
    """Return the model card as Markdown.

    Args:
        facts: From :mod:`kdh_ray.export.facts`.
        exported: Content of the ``config.json`` of an export; None for a checkpoint.
    """
    form = "" if exported is None else f", in {exported['precision']} for {exported['engine']}"
    return "\n".join(
        [
            *_front_matter(facts, exported),
            f"# {facts['name']}: {facts['stage']}",
            "",
            f"A multi-label text classifier with {len(facts['labels'])} labels{form}.",
            "",
            *_use(exported),
            *_labels(facts),
            *_scores(facts),
            *_groups(facts),
            *_reading(facts["reading"]),
            *_training(facts),
            *_check(exported),
            *_open_questions(facts),
        ]
    )


def write_model_card(folder: Path, facts: Mapping[str, Any], exported: Mapping[str, Any]) -> None:
    """Write the card of an export as ``README.md`` and as ``model_card.json``."""
    (folder / "README.md").write_text(model_card(facts, exported), encoding="utf-8")
    content = json.dumps(with_open_topics(facts), indent=1, ensure_ascii=False)
    (folder / "model_card.json").write_text(content + "\n", encoding="utf-8")


def with_open_topics(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with the questions that only people can answer, for JSON."""
    topics = [{"topic": topic, "questions": list(asked), "answer": None} for topic, asked in TOPICS.items()]
    return {**facts, "open": topics}


def _front_matter(facts: Mapping[str, Any], exported: Mapping[str, Any] | None) -> list[str]:
    """Return the hub's metadata. The licence is left out: it is the classifier's, which only people can choose."""
    from huggingface_hub import EvalResult, ModelCardData

    evaluation, corpus = facts.get("evaluation"), facts.get("corpus")
    results = None
    if evaluation and corpus:
        results = [
            EvalResult(
                task_type="text-classification", dataset_type=_cell(corpus["name"]), dataset_name=_cell(corpus["name"]),
                dataset_split=evaluation["split"], metric_type="f1", metric_name=name,
                metric_value=round(score["value"], _DIGITS),
            )
            for name, score in evaluation["scores"].items() if name.startswith("f1")
        ]  # fmt: skip
    data = ModelCardData(
        model_name=_cell(f"{facts['name']}: {facts['stage']}") if results else None,
        eval_results=results,
        language=facts["training"].get("language"),
        library_name="kdh-ray" if exported is None else "kdh-runtime",
        pipeline_tag="text-classification",
        tags=["multi-label", "knowledge-distillation", *([] if exported is None else ["onnx"])],
    )
    # Texts are divided by the rules of a language even if nobody said which one they are in.
    unknown = [] if data.language else ["# language: to be filled in, such as de; data.language sets it"]
    return ["---", *data.to_yaml().splitlines(), *unknown, "---", ""]


def _use(exported: Mapping[str, Any] | None) -> list[str]:
    load = "from kdh_runtime import load  # pip install kdh-runtime; needs neither torch nor a network"
    call = 'prediction = load("FOLDER").predict(["A text.", "Another one."])'
    if exported is None:
        load = "from kdh_ray import load_classifier"
        call = call.replace("load(", "load_classifier(")
    return ["```python", load, "", call, "prediction.labels, prediction.probabilities, prediction.evidence", "```", ""]


def _labels(facts: Mapping[str, Any]) -> list[str]:
    scored = "evaluation" in facts
    header = ["label", "threshold"]
    if scored:
        header += ["train", facts["evaluation"]["split"], "precision", "recall", "F1", "Brier", "ECE"]
    rows = []
    for each in facts["labels"]:
        row = [_cell(each["label"]), f"{each['threshold']:.3f}"]
        if scored:
            support = each["support"]
            row += [str(support["train"]), str(support[facts["evaluation"]["split"]])]
            row += [f"{100 * each[name]:.1f}" for name in ("precision", "recall")]
            row += [_interval(each["f1"]), f"{each['brier']:.3f}", f"{each['ece']:.3f}"]
        rows.append(row)
    text = ["A label is present if its probability reaches its threshold."]
    if scored:
        text += ["The columns train and " + facts["evaluation"]["split"] + " count documents with the label."]
    return ["## Labels", "", *text, "", *_table(header, rows), ""]


def _scores(facts: Mapping[str, Any]) -> list[str]:
    if "evaluation" not in facts:
        return []
    evaluation, calibration = facts["evaluation"], facts["evaluation"]["calibration"]
    rows = [[name, _interval(score)] for name, score in evaluation["scores"].items()]
    warning = [f"**Warning:** the classifier {_cell(evaluation['warning'])}.", ""] if evaluation["warning"] else []
    return [
        "## Scores", "", *warning,
        f"On the {evaluation['documents']} documents of the {evaluation['split']} split, read as"
        f" {evaluation['read_as']}, with intervals ({evaluation['intervals']}):", "",
        *_table(["metric", "%"], rows), "",
        f"Calibration, mean over labels: Brier score {calibration['brier']:.4f}, expected calibration error"
        f" {calibration['ece']:.4f}. With few documents the latter is too high by chance.", "",
    ]  # fmt: skip


def _groups(facts: Mapping[str, Any]) -> list[str]:
    if "groups" not in facts:
        return []
    names = ("f1_micro", "precision_micro", "recall_micro", "f1_macro")
    rows = [
        [_cell(each["group"]), str(each["documents"]), *(_interval(each[name]) for name in names)]
        for each in facts["groups"]["groups"]
    ]
    title = f"## Scores by {_cell(facts['groups']['column'])}"
    return [title, "", *_table(["group", "documents", *names], rows), ""]


def _reading(reading: Mapping[str, Any]) -> list[str]:
    segmenter = reading["segmenter"]
    parts = {
        "sentences": f"divided into sentences (language: {segmenter['language']})",
        "lines": "divided at line ends",
        "none": "read whole",
    }
    return [
        "## How a text is read", "",
        f"A text is {parts[segmenter['rule']]}. The classifier reads {reading['max_tokens']} tokens at once; a longer"
        f" text is read in windows that share {reading['overlap']} tokens, and its logits are the {reading['combine']}"
        " over them.", "",
    ]  # fmt: skip


def _training(facts: Mapping[str, Any]) -> list[str]:
    training = dict(facts["training"])
    trained_on = training.pop("corpus")
    found = {"corpus": trained_on.get("name"), "corpus fingerprint": trained_on.get("fingerprint")}
    if "corpus" in facts:
        sizes = facts["corpus"]["documents"]
        found["corpus documents"] = ", ".join(f"{count} {name}" for name, count in sizes.items())
        if trained_on.get("fingerprint") is not None and not facts["corpus"]["is_that_of_training"]:
            found["scored on another state of the corpus, fingerprint"] = facts["corpus"]["fingerprint"]
    if "encoder" in facts:
        found["encoder"] = facts["encoder"]["source"]
    found |= {name.replace("_", " "): value for name, value in training.items()}
    lines = [f"- {name}: {_cell(_shown(value))}" for name, value in found.items() if value is not None]
    return ["## Training and validation", "", *lines, f"- checkpoint fingerprint: {facts['fingerprint']}", ""]


def _check(exported: Mapping[str, Any] | None) -> list[str]:
    if exported is None:
        return []
    check = exported["check"]
    scores = ""
    if check["f1_original"] is not None:
        scores = f" Micro F1 is {100 * check['f1_exported']:.2f}; the original's is {100 * check['f1_original']:.2f}."
    lines = [
        f"On {check['texts']} texts, logits are within {check['largest_difference']:.1e} of the original's, and"
        f" {100 * check['flipped']:.2f} % of decisions differ.{scores}",
    ]
    if check["refused"] is not None:
        share = 100 * check["refused"]["flipped"]
        lines.append(
            f"A graph of lower precision was made and not kept: it changed {share:.2f} % of decisions; {LIMITS}."
        )
    return ["## Check of the exported file", "", *lines, f"Checked on: {check['processor']}.", ""]


def _open_questions(facts: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for topic, questions in TOPICS.items():
        known: list[str] = []
        if topic.startswith("Licences"):
            known = [
                f"- {name}: {_cell(facts.get(name, {}).get('licence') or UNKNOWN)}" for name in ("encoder", "corpus")
            ]
            known.append("")
        lines += [f"## {topic}", "", *known, OPEN, "", *(f"- {question}" for question in questions), ""]
    return lines


def _interval(score: Mapping[str, Any]) -> str:
    """Return ``74.3 (72.1 to 76.4)`` for shares."""
    value = f"{100 * score['value']:.1f}"
    limits = score["low"], score["high"]
    return value if None in limits else f"{value} ({100 * limits[0]:.1f} to {100 * limits[1]:.1f})"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(header)
    return [_line(names), "|---" * len(names) + "|", *map(_line, rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: Any) -> str:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
