from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from kdh_ray.config import LossConfig
from kdh_ray.models.classifier import Output
from kdh_ray.training.losses import (
    Batch,
    asymmetric,
    bernoulli_kl,
    binary_cross_entropy,
    hidden_cosine,
    loss_terms,
    softmax_kl,
)


def tensor(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_bce_by_hand() -> None:
    # z = ln 3: s(z) = 3/4. A positive costs -ln(3/4), a negative -ln(1/4).
    logits = tensor([math.log(3), math.log(3)])
    expected = (-math.log(0.75) - math.log(0.25)) / 2
    assert binary_cross_entropy(logits, tensor([1, 0])).item() == pytest.approx(expected)


def test_bce_weighs_positives_only() -> None:
    logits = tensor([math.log(3), math.log(3)])
    weights = torch.tensor([2.0, 2.0], dtype=torch.float64)
    expected = (-2 * math.log(0.75) - math.log(0.25)) / 2
    assert binary_cross_entropy(logits, tensor([1, 0]), weights).item() == pytest.approx(expected)


def test_bernoulli_kl_by_hand() -> None:
    # Teacher probability 3/4 and student 1/2 at T = 1: KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert bernoulli_kl(tensor([0.0]), tensor([math.log(3)]), 1.0).item() == pytest.approx(expected)


def test_bernoulli_kl_divides_by_temperature_and_multiplies_by_its_square() -> None:
    # At T = 2 a teacher logit of 2 ln 3 is ln 3, so the value is 4 times the one above.
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert bernoulli_kl(tensor([0.0]), tensor([2 * math.log(3)]), 2.0).item() == pytest.approx(expected)


def test_softmax_kl_by_hand() -> None:
    # Teacher softmax (3/4, 1/4), student (1/2, 1/2); twice the same document has the same mean.
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    teacher = tensor([math.log(3), 0.0], [math.log(3), 0.0])
    assert softmax_kl(torch.zeros_like(teacher), teacher, 1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [bernoulli_kl, softmax_kl])
def test_soft_losses_vanish_where_student_and_teacher_agree(loss) -> None:  # type: ignore[no-untyped-def]
    logits = tensor([1.0, -2.0, 30.0], [0.0, 5.0, -40.0])
    assert loss(logits, logits, 3.0).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("loss", [bernoulli_kl, softmax_kl])
def test_gradient_size_stays_as_temperature_grows(loss) -> None:  # type: ignore[no-untyped-def]
    teacher = tensor([1.0, -1.0, 0.5])
    sizes = []
    for temperature in (10.0, 20.0):
        student = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        loss(student, teacher, temperature).backward()
        sizes.append(student.grad.norm().item())  # type: ignore[union-attr]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_asymmetric_loss_by_hand() -> None:
    # p = 1/4, margin 0.05: p_m = 0.2; a negative costs 0.2^4 * -ln(0.8), a positive -ln(1/4).
    logit = -math.log(3)
    expected = (-math.log(0.25) - 0.2**4 * math.log(0.8)) / 2
    assert asymmetric(tensor([logit, logit]), tensor([1, 0])).item() == pytest.approx(expected)


def test_hidden_cosine_by_hand() -> None:
    assert hidden_cosine(tensor([1.0, 0.0]), tensor([0.0, 2.0])).item() == pytest.approx(1.0)
    assert hidden_cosine(tensor([1.0, 1.0]), tensor([3.0, 3.0])).item() == pytest.approx(0.0)


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 3, dtype=torch.float64)
    targets = torch.randint(0, 2, (4, 3)).double()
    for function in (
        lambda z: bernoulli_kl(z, teacher, 2.5),
        lambda z: softmax_kl(z, teacher, 2.5),
        lambda z: binary_cross_entropy(z, targets, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
        lambda z: asymmetric(z, targets, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
    ):
        assert torch.autograd.gradcheck(function, (logits,))


def batch(**values: torch.Tensor) -> Batch:
    ids = torch.zeros(2, 4, dtype=torch.long)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return Batch(ids, ids, ids, targets, **values)


def test_total_mixes_the_unweighted_terms_by_alpha() -> None:
    torch.manual_seed(1)
    output = Output(torch.randn(2, 2), None, torch.randn(2, 3))
    config = LossConfig(alpha=0.3, temperature=2.0, hidden_weight=0.5)
    given = batch(teacher_logits=torch.randn(2, 2), teacher_pooled=torch.randn(2, 3))
    terms = loss_terms(output, given, config, projected=output.pooled)
    assert set(terms) == {"hard", "soft", "hidden", "total"}
    mixed = 0.3 * terms["soft"] + 0.7 * terms["hard"] + 0.5 * terms["hidden"]
    assert terms["total"].item() == pytest.approx(mixed.item())


def test_without_a_teacher_the_total_is_the_hard_loss() -> None:
    output = Output(torch.randn(2, 2), None, torch.randn(2, 3))
    terms = loss_terms(output, batch(), LossConfig(alpha=0.9))
    assert terms["total"].item() == terms["hard"].item()


@pytest.mark.parametrize("hard", ["bce", "asymmetric"])
def test_class_weights_count_in_either_hard_loss(hard: Literal["bce", "asymmetric"]) -> None:
    output = Output(torch.zeros(2, 2), None, torch.zeros(2, 3))
    plain, weighted = (
        loss_terms(output, batch(), LossConfig(hard=hard), weights)["hard"].item()
        for weights in (None, torch.tensor([3.0, 1.0]))
    )
    # One of four entries is a positive of the first label, and costs ln 2.
    assert weighted - plain == pytest.approx(2 * math.log(2) / 4)


def test_padding_segments_and_segments_cut_off_cost_nothing() -> None:
    # The second document has one segment; the third segment of the first was cut off before the student saw it.
    logits = torch.full((2, 2, 2), 0.0)
    logits[1, 1] = float("-inf")
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [float("nan")] * 2, [float("nan")] * 2]])
    output = Output(torch.zeros(2, 2), logits, torch.zeros(2, 3))
    terms = loss_terms(output, batch(segment_targets=targets), LossConfig())
    # Every logit is 0, so each of documents and segments costs ln 2 a label.
    assert terms["hard"].item() == pytest.approx(2 * math.log(2))


def test_documents_without_labels_count_in_the_soft_loss_alone() -> None:
    torch.manual_seed(0)
    logits, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 1], [torch.nan] * 3, [torch.nan] * 3])
    tokens = torch.zeros(4, 1, dtype=torch.long)

    def terms(rows: slice) -> dict[str, torch.Tensor]:
        batch = Batch(tokens[rows], tokens[rows], tokens[rows], targets[rows], teacher_logits=teacher[rows])
        return loss_terms(Output(logits[rows], None, logits[rows]), batch, LossConfig(alpha=0.5))

    both, labelled, unlabelled = terms(slice(4)), terms(slice(2)), terms(slice(2, 4))
    torch.testing.assert_close(both["hard"], labelled["hard"])
    torch.testing.assert_close(both["soft"], (labelled["soft"] + unlabelled["soft"]) / 2)
    assert unlabelled["hard"] == 0.0
    (gradient,) = torch.autograd.grad(unlabelled["total"], logits)
    assert torch.isfinite(gradient).all()
    assert gradient[2:].abs().sum() > 0
