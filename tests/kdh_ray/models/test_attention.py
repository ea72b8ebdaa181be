"""Document-wise attention computes what attention with a mask does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kdh_ray.models.attention import NAME, document_wise_attention, select_attention
from kdh_ray.models.checkpoint import build_classifier
from kdh_ray.models.encoders import load_encoder
from kdh_ray.models.quiet import quiet

LENGTHS = [7, 3, 5]


def tensors(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, 2, 7, 4).to(dtype).requires_grad_() for _ in range(3)]


def padding() -> torch.Tensor:
    seen = torch.arange(7) < torch.tensor(LENGTHS).unsqueeze(1)
    return seen[:, None, None, :].expand(3, 1, 7, 7)


def real(values: torch.Tensor) -> torch.Tensor:
    """Return the values of documents, without padding."""
    return torch.cat([values[i, :n].flatten() for i, n in enumerate(LENGTHS)])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_output_and_gradients_equal_masked_attention(dtype: torch.dtype, tolerance: float) -> None:
    query, key, value = tensors(dtype)
    ours, _ = document_wise_attention(torch.nn.Identity(), query, key, value, padding())
    theirs = scaled_dot_product_attention(query, key, value, attn_mask=padding()).transpose(1, 2)
    torch.testing.assert_close(real(ours), real(theirs), atol=tolerance, rtol=tolerance)
    weights = torch.randn(len(real(ours))).to(dtype)
    for mine, reference in zip(
        torch.autograd.grad((real(ours) * weights).sum(), (query, key, value)),
        torch.autograd.grad((real(theirs) * weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference, atol=2 * tolerance, rtol=tolerance)


def test_padding_is_zero_and_has_no_gradient() -> None:
    query, key, value = tensors()
    output, _ = document_wise_attention(torch.nn.Identity(), query, key, value, padding())
    output.square().sum().backward()
    for i, n in enumerate(LENGTHS):
        assert not output[i, n:].any()
        assert not query.grad[i, :, n:].any()
        assert not key.grad[i, :, n:].any()
        assert not value.grad[i, :, n:].any()


def test_dropout_of_attention_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no dropout; got 0\.1"):
        document_wise_attention(torch.nn.Identity(), *tensors(), None, dropout=0.1)


def test_encoder_output_stays_the_same(encoder: Path) -> None:
    model = build_classifier(str(encoder), 3, segments=False, dropout=0.0).eval()
    ids, mask = torch.tensor([[2, 5, 6, 7, 3], [2, 6, 3, 0, 0]]), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    before = model(ids, mask).documents
    select_attention(model.encoder, "cpu", "bfloat16")
    assert model.encoder.config._attn_implementation == NAME
    torch.testing.assert_close(model(ids, mask).documents, before)
    select_attention(model.encoder, "cpu", "float32")
    assert model.encoder.config._attn_implementation == "sdpa"


def test_saved_encoder_has_usual_attention(encoder: Path, tmp_path: Path) -> None:
    trained = load_encoder(str(encoder))
    select_attention(trained, "cpu", "bfloat16")
    trained.save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path)).config._attn_implementation != NAME


def test_encoder_with_score_bias_is_unchanged() -> None:
    from transformers import MPNetConfig, MPNetModel

    with quiet():
        model = MPNetModel(MPNetConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                       intermediate_size=8, max_position_embeddings=16)).eval()  # fmt: skip
    ids, mask = torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4)
    before = model(ids, mask).last_hidden_state
    select_attention(model, "cpu", "bfloat16")
    assert torch.equal(model(ids, mask).last_hidden_state, before)
