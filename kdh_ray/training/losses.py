"""Losses on labels, on teacher logits and on hidden states. Each is a mean over documents, and over labels if it sums
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdh_ray.config import LossConfig
from kdh_ray.models.classifier import Output


def binary_cross_entropy(logits: Tensor, targets: Tensor, positive_weights: Tensor | None = None) -> Tensor:
    """Return the mean over documents and labels of -w y log s(z) - (1 - y) log(1 - s(z)); s is the logistic function.

    Args:
        logits: (n, n_labels).
        targets: (n, n_labels), 0 or 1.
        positive_weights: (n_labels,) w, the weight of each label's positives.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weights)


def asymmetric(
    logits: Tensor, targets: Tensor, positive_weights: Tensor | None = None, gamma: float = 4.0, margin: float = 0.05
) -> Tensor:
    """Asymmetric loss (Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, equation 7).

    With p = s(z) and p_m = max(p - margin, 0), it is the mean of -w y log p - (1 - y) p_m^gamma log(1 - p_m). Easy
    negatives, which are most of a multi-label corpus, count little. The positives' exponent is 0, as the paper
    recommends. In the paper w is 1; here it may be the (n_labels,) weights of :func:`binary_cross_entropy`.
    """
    probability = torch.sigmoid(logits)  # p, (n, n_labels)
    shifted = (probability - margin).clamp(min=0.0)  # p_m
    positive = targets * F.logsigmoid(logits) * (1.0 if positive_weights is None else positive_weights)
    # The clamp matters only with margin 0: 1 - p_m may then round to 0, whose logarithm is infinite.
    negative = (1 - targets) * shifted.pow(gamma) * torch.log((1 - shifted).clamp(min=1e-8))
    return -(positive + negative).mean()


def bernoulli_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the mean over documents and labels of KL(s(t / T) || s(z / T)).

    t and z are teacher and student logits, and each label is a two-way distribution of its own, since labels are not
    exclusive. T^2 keeps the gradient's size independent of T (Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015, section 2.1).
    """
    student, teacher = student_logits / temperature, teacher_logits / temperature
    probability = torch.sigmoid(teacher)  # (n, n_labels)
    # log(1 - s(x)) = log s(-x), which keeps its digits where s(x) is close to 1.
    positive = probability * (F.logsigmoid(teacher) - F.logsigmoid(student))
    negative = (1 - probability) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * (positive + negative).mean()


def softmax_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the mean over documents of KL(softmax(t / T) || softmax(z / T)), as in arXiv 2505.07162."""
    student = F.log_softmax(student_logits / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
    # "batchmean" divides by the documents; "mean" would divide by the labels as well.
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def hidden_cosine(student_pooled: Tensor, teacher_pooled: Tensor) -> Tensor:
    """Return the mean over documents of 1 - cos(student, teacher): DistilBERT's hidden loss (Sanh et al., 2019).

    Args:
        student_pooled: (n, hidden of the teacher), pooled states mapped by a projection learnt with the student.
        teacher_pooled: (n, hidden of the teacher), pooled states.
    """
    return (1 - F.cosine_similarity(student_pooled, teacher_pooled, dim=-1)).mean()


SOFT = {"bernoulli-kl": bernoulli_kl, "softmax-kl": softmax_kl}


@dataclass
class Batch:
    """One batch, padded to its longest document.

    Attributes:
        input_ids, attention_mask, segment_numbers: (n_documents, n_tokens); see ``Classifier.forward``.
        targets: (n_documents, n_labels) float; NaN for documents without labels.
        segment_targets: (n_documents, n_segments, n_labels) float; NaN for segments that a document lacks.
        teacher_logits, teacher_segments, teacher_pooled: The teacher's output for the same documents, shaped like
            ``targets``, ``segment_targets`` and (n_documents, hidden of the teacher).
        labelled: Share of labelled documents in this part of a batch over that share in the whole batch.
    """

    input_ids: Tensor
    attention_mask: Tensor
    segment_numbers: Tensor
    targets: Tensor
    segment_targets: Tensor | None = None
    teacher_logits: Tensor | None = None
    teacher_segments: Tensor | None = None
    teacher_pooled: Tensor | None = None
    labelled: float = 1.0


def loss_terms(
    output: Output,
    batch: Batch,
    config: LossConfig,
    positive_weights: Tensor | None = None,
    projected: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return every term before weighting, and ``total`` = alpha soft + (1 - alpha) hard + hidden_weight hidden.

    ``hard`` and ``soft`` are each a document term plus ``segment_weight`` times a term over the segments present. A
    document without labels counts only in the document term of ``soft``. All other terms are means over the labelled
    documents, times ``batch.labelled``, so that the mean over a batch's parts equals that of the batch. Without teacher
    logits, ``total`` is ``hard``.

    Args:
        output: The student's output.
        batch: Labels and the teacher's output.
        config: Choice of losses, and their weights.
        positive_weights: (n_labels,) for the hard loss.
        projected: (n_documents, hidden of the teacher) the student's pooled states in the teacher's width.
    """

    def hard(logits: Tensor, targets: Tensor) -> Tensor:
        if config.hard == "asymmetric":
            return asymmetric(logits, targets, positive_weights)
        return binary_cross_entropy(logits, targets, positive_weights)

    soft = SOFT[config.soft]
    terms = {"hard": _where_known(hard, output.documents, batch.targets)}
    terms["hard"] = terms["hard"] + _over_segments(hard, output, batch.segment_targets, config.segment_weight)
    terms["hard"] = terms["hard"] * batch.labelled  # so that the mean over parts is that of the batch
    if batch.teacher_logits is None:
        return {**terms, "total": terms["hard"]}
    terms["soft"] = soft(output.documents, batch.teacher_logits, config.temperature) + batch.labelled * _over_segments(
        lambda student, teacher: soft(student, teacher, config.temperature),
        output,
        batch.teacher_segments,
        config.segment_weight,
    )
    total = config.alpha * terms["soft"] + (1 - config.alpha) * terms["hard"]
    if config.hidden_weight and batch.teacher_pooled is not None and projected is not None:
        terms["hidden"] = batch.labelled * _where_known(hidden_cosine, projected, batch.teacher_pooled)
        total = total + config.hidden_weight * terms["hidden"]
    return {**terms, "total": total}


def _where_known(loss: Callable[[Tensor, Tensor], Tensor], received: Tensor, reference: Tensor) -> Tensor:
    """Return ``loss`` over the documents whose (n_documents, ...) reference is not NaN; 0 without such documents."""
    known = torch.isfinite(reference).all(-1)  # (n_documents,)
    if bool(known.all()):
        return loss(received, reference)
    # A zero that stays in the graph, so that a part without labelled documents has a backward pass.
    return loss(received[known], reference[known]) if bool(known.any()) else 0.0 * received.sum()


def _over_segments(loss, output: Output, reference: Tensor | None, weight: float) -> Tensor | float:  # type: ignore[no-untyped-def]
    """Return ``weight`` times ``loss`` over the segments that are in both the output and the reference."""
    if output.segments is None or reference is None or weight == 0.0:
        return 0.0
    # A document that is cut at a maximum length lacks its last segments, in the output or in the reference.
    count = min(output.segments.shape[1], reference.shape[1])
    logits = output.segments[:, :count]  # (n_documents, n_segments, n_labels)
    reference = reference[:, :count]
    # (n_documents, n_segments): the output has -inf, and the reference NaN, for a segment that a document lacks.
    present = torch.isfinite(logits).all(-1) & torch.isfinite(reference).all(-1)
    if not bool(present.any()):
        return 0.0
    value: Tensor = weight * loss(logits[present], reference[present])
    return value
