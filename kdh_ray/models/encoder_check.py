"""Checks of an encoder before anything starts: weights, tokenizer and architecture, without reading the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kdh_ray.errors import CheckpointError
from kdh_ray.models.encoders import load_tokenizer, local_weights, read_config, resolve_encoder
from kdh_ray.models.trial_pass import training_fault
from kdh_ray.models.vocabulary import check_size
from kdh_ray.models.weights import empty_encoder, match_names, read_shapes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def check_encoder(source: str, precision: str = "auto") -> list[str]:
    """Check that an encoder has all of its weights, its own tokenizer, and an architecture that can be trained here.

    Only the headers of its weight files are read.

    Args:
        source: See :func:`kdh_ray.models.encoders.resolve_encoder`.
        precision: As configured; ``bfloat16`` is refused for an encoder that can't be trained in it.

    Returns:
        Notes for the user, a sentence each.

    Raises:
        UnavailableError: If the encoder is neither on this machine nor on a hub that can be reached.
        CheckpointError: If it can't be used, or not in the precision; says how to mend that.
    """
    from kdh_ray.models.classifier import encoder_layers

    config, name = read_config(source), resolve_encoder(source)
    encoder_layers(empty_encoder(config))  # refuses layers that share their weights, such as ALBERT's
    notes = _check_weights(name, config)
    if fault := training_fault(config, "float32"):
        raise CheckpointError(f"{name}: {config.model_type} can't be trained on tokens alone ({fault})")
    if precision == "bfloat16" and (fault := training_fault(config, "bfloat16")):
        raise CheckpointError(
            f"{name}: {config.model_type} can't be trained in bfloat16: set precision: float32 ({fault})"
        )
    return notes + check_size(load_tokenizer(source), name, config.vocab_size)


def _check_weights(name: str, config: PreTrainedConfig) -> list[str]:
    shapes = _shapes(name)
    removed = match_names(name, shapes, config).removed if shapes else ""
    return [f"{name}: the weights are those of a wrapped model; {removed} is taken off their names"] if removed else []


def _shapes(name: str) -> Mapping[str, Sequence[int]]:
    """Return the shapes of an encoder's weights; empty if a hub may have yet to convert them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import NotASafetensorsRepoError

    if files := local_weights(name):
        return read_shapes(files)
    try:
        headers = HfApi().get_safetensors_metadata(name).files_metadata
    except NotASafetensorsRepoError:
        return {}
    return {key: tensor.shape for file in headers.values() for key, tensor in file.tensors.items()}
