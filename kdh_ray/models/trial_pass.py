"""A training step of a shallow random copy of an encoder, which shows in a moment whether the encoder can be trained.

Architectures differ in what they take: some need boxes, pixels or languages next to tokens, and some compute numbers
that bfloat16 cannot hold. A step of a copy with one layer of each type and eight tokens meets the same faults.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from kdh_ray.models.encoders import set_dropout
from kdh_ray.models.quiet import quiet
from kdh_ray.storage import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_VOCABULARY, _INTERMEDIATE = 8, 16


def usable_precision(encoder: PreTrainedModel, precision: str, device: str) -> str:
    """Return ``precision``, or float32 for an encoder that can't be trained in bfloat16, such as DeBERTa's.

    Args:
        encoder: Any encoder with a stack of layers.
        precision: ``float32`` or ``bfloat16``.
        device: ``cpu`` or ``cuda``.
    """
    from kdh_ray.models.attention import FULL_ATTENTION

    if precision == "float32" or encoder.config.model_type in FULL_ATTENTION:
        return precision
    return "float32" if training_fault(encoder.config, precision, device) else precision


def training_fault(config: PreTrainedConfig, precision: str, device: str = "cpu") -> str:
    """Train a shallow copy of an encoder for one step; return the error in one line, or nothing if it can be trained.

    Args:
        config: The encoder's configuration.
        precision: ``float32`` or ``bfloat16``.
        device: ``cpu`` or ``cuda``.
    """
    return _fault(config.to_json_string(use_diff=False), precision, device)


@lru_cache(maxsize=16)
def _fault(config: str, precision: str, device: str) -> str:
    import torch
    from transformers import AutoConfig

    with torch.random.fork_rng():
        try:
            _train(AutoConfig.for_model(**json.loads(config)), precision, device)
        except Exception as error:  # code of any architecture fails in its own way
            return one_line(error) if str(error) else type(error).__name__
    return ""


def _train(config: PreTrainedConfig, precision: str, device: str) -> None:
    import torch
    from transformers import AutoModel

    from kdh_ray.models.attention import select_attention
    from kdh_ray.models.byte_dropout import use_byte_dropout
    from kdh_ray.models.classifier import Classifier

    config = shallow(config)
    set_dropout(config, 0.1)
    with quiet():
        encoder = AutoModel.from_config(config, dtype=torch.float32)
    use_byte_dropout(encoder)
    select_attention(encoder, device, precision)
    model = Classifier(encoder, 2, segments=False, dropout=0.1).to(device).train()
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 6, 3, 0, 0]], device=device)  # (2 documents, 5 tokens); 0 is padding
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        output = model(ids, (ids != 0).long())
    output.documents.sum().backward()


def shallow(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the configuration of an encoder with a layer of each type and eight tokens, as wide as before."""
    from kdh_ray.models.classifier import cut_config

    config = copy.deepcopy(config)
    types = getattr(config, "layer_types", None) or [""]
    cut_config(config, sorted({kind: i for i, kind in reversed(list(enumerate(types)))}.values()))
    config.vocab_size = _VOCABULARY
    config.pad_token_id = 0
    for name in ("intermediate_size", "hidden_dim"):  # most of a layer's weights
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, _INTERMEDIATE)
    return config
