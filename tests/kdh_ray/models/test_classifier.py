from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdh_ray.errors import CheckpointError
from kdh_ray.models.checkpoint import Card, build_classifier, load_checkpoint, save_checkpoint
from kdh_ray.models.classifier import Classifier, encoder_layers, freeze_layers, take_layers
from kdh_ray.models.encoders import load_tokenizer


def test_student_has_every_second_layer(encoder: Path) -> None:
    teacher = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    student = take_layers(teacher, 2)
    stacks = encoder_layers(teacher.encoder), encoder_layers(student.encoder)
    for kept, origin in ((0, 0), (1, 2)):
        for name, value in stacks[1][kept].state_dict().items():
            assert torch.equal(value, stacks[0][origin].state_dict()[name])
    assert student.encoder.config.num_hidden_layers == 2
    assert len(encoder_layers(teacher.encoder)) == 4


def test_student_of_layers_that_differ_is_read_as_it_was_written(encoder: Path, tmp_path: Path) -> None:
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=0, cls_token_id=2, bos_token_id=2, sep_token_id=3, eos_token_id=3,
        local_attention=4, global_attn_every_n_layers=2,
    )  # fmt: skip
    torch.manual_seed(0)
    teacher = Classifier(ModernBertModel(config), 3, segments=False, dropout=0.0)
    student = take_layers(teacher, 2).eval()  # the two that see whole documents, not one of these and a narrow one
    card = Card(["a", "b", "c"], [0.5] * 3, 48, False, {})
    save_checkpoint(tmp_path / "student", student, load_tokenizer(str(encoder)), card)
    read = load_checkpoint(tmp_path / "student")[0].eval()
    ids = torch.arange(2, 30)[None]
    expected = student(ids, torch.ones_like(ids)).documents
    torch.testing.assert_close(read(ids, torch.ones_like(ids)).documents, expected)
    assert len(teacher.encoder.config.layer_types) == 4


def test_first_token_stands_for_the_document(encoder: Path, tmp_path: Path) -> None:
    model = take_layers(build_classifier(str(encoder), 3, False, 0.0, "cls"), 2).eval()
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    mask = (ids != 0).long()
    first = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    torch.testing.assert_close(model(ids, mask).pooled, first)
    torch.testing.assert_close(model(ids, mask).documents, model.document_head(first))
    card = Card(["a", "b", "c"], [0.5] * 3, 16, False, {}, pooling="cls")
    save_checkpoint(tmp_path / "student", model, load_tokenizer(str(encoder)), card)
    read = load_checkpoint(tmp_path / "student")[0].eval()
    torch.testing.assert_close(read(ids, mask).documents, model(ids, mask).documents)


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
