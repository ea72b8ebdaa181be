from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdh_ray.errors import CheckpointError
from kdh_ray.models.checkpoint import build_classifier
from kdh_ray.models.classifier import encoder_layers, freeze_layers, take_layers


def test_student_has_every_second_layer(encoder: Path) -> None:
    teacher = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    student = take_layers(teacher, 2)
    stacks = encoder_layers(teacher.encoder), encoder_layers(student.encoder)
    for kept, origin in ((0, 0), (1, 2)):
        for name, value in stacks[1][kept].state_dict().items():
            assert torch.equal(value, stacks[0][origin].state_dict()[name])
    assert student.encoder.config.num_hidden_layers == 2
    assert len(encoder_layers(teacher.encoder)) == 4


def test_refuses_more_layers_than_there_are(encoder: Path) -> None:
    teacher = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    with pytest.raises(CheckpointError, match="has 4 encoder layers; got 5"):
        take_layers(teacher, 5)


def test_padding_changes_nothing(encoder: Path) -> None:
    model = build_classifier(str(encoder), 3, segments=True, dropout=0.0).eval()
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    numbers = torch.tensor([[-1, 0, 0, 1, -1]])
    short = model(ids, torch.ones_like(ids), numbers)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    padded = model(torch.nn.functional.pad(ids, (0, 2)), mask, torch.nn.functional.pad(numbers, (0, 2), value=-1))
    torch.testing.assert_close(padded.documents, short.documents)
    torch.testing.assert_close(padded.segments, short.segments)


def test_a_document_is_its_segments_log_sum_exp_and_its_own_head(encoder: Path) -> None:
    model = build_classifier(str(encoder), 3, segments=True, dropout=0.0).eval()
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    output = model(ids, torch.ones_like(ids), torch.tensor([[-1, 0, 0, 1, -1]]))
    own = model.document_head(output.pooled)
    torch.testing.assert_close(output.documents, own + output.segments.exp().sum(1).log())


def test_a_document_without_segments_is_its_own_only_segment(encoder: Path) -> None:
    model = build_classifier(str(encoder), 3, segments=True, dropout=0.0).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    output = model(ids, torch.ones_like(ids), torch.full_like(ids, -1))
    torch.testing.assert_close(output.segments[:, 0], model.segment_head(output.pooled))
    assert torch.isfinite(output.documents).all()


def test_frozen_layers_take_no_gradients(encoder: Path) -> None:
    model = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    freeze_layers(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    freeze_layers(model, 2)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    model(ids, torch.ones_like(ids)).documents.sum().backward()
    learning = [any(p.grad is not None for p in layer.parameters()) for layer in encoder_layers(model.encoder)]
    assert learning == [False, False, True, True]
    assert all(parameter.grad is None for parameter in model.encoder.get_input_embeddings().parameters())
    freeze_layers(model, 9)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "document_head.weight", "document_head.bias",
    }  # fmt: skip
