"""Weights of an encoder against the architecture that its configuration names, from names and shapes only."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import CheckpointError
from kdh_ray.models.quiet import quiet
from kdh_ray.storage import one_line

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

WEIGHTS, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_config.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_OTHER_FORMATS = ("*.ckpt", "*.pt", "*.pth", "*.bin", "*.h5", "*.msgpack", "*.gguf", "*.onnx", "*.safetensors")
_UNUSED = re.compile(r"(^|\.)(pooler\.|position_ids$|inv_freq$)")  # not trained here, or computed
_WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_ADAPTERS = re.compile(r"(^|\.)(lora_|ia3_|oft_|base_layer\.|adapters\.|prompt_encoder\.|modules_to_save\.)")
_FLOATS = ("F64", "F32", "F16", "BF16")
_LFS = b"version https://git-lfs"
_SAVE_AGAIN = "load the model with the code that wrote it, and save its encoder by save_pretrained"


@dataclass(frozen=True)
class Fit:
    """Comparison of the weights that a file has with those that an encoder needs.

    Poolers, position ids and the heads of other tasks are left out, since nothing here uses them.

    Attributes:
        architecture: Name of the encoder's class.
        total: Number of weights that the encoder needs.
        missing: Names of weights that the file lacks.
        mismatched: Name, shape in the file, and shape in the encoder, of weights whose shapes differ.
        surplus: Names of weights in the file that belong to layers, or to parts of a layer, that the encoder lacks.
    """

    architecture: str
    total: int
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    surplus: tuple[str, ...]

    @classmethod
    def of(cls, encoder: PreTrainedModel, info: Mapping[str, Any]) -> Fit:
        """Return the comparison that transformers made while it loaded ``encoder``.

        Args:
            encoder: As loaded.
            info: The second value of ``from_pretrained(..., output_loading_info=True)``.
        """
        layer = re.compile(rf"({re.escape(encoder.base_model_prefix)}\.)?{re.escape(_stack_name(encoder))}\.\d+\.")
        return cls(
            type(encoder).__name__,
            len(_used(encoder.state_dict())),
            tuple(sorted(_used(info["missing_keys"]))),
            tuple(
                (name, tuple(found), tuple(needed))
                for name, found, needed in sorted(info["mismatched_keys"])
                if not _UNUSED.search(name)
            ),
            tuple(sorted(name for name in _used(info["unexpected_keys"]) if layer.match(name))),
        )

    @property
    def whole(self) -> bool:
        """True if the encoder has all of its weights, and the file has no other layers."""
        return not (self.missing or self.mismatched or self.surplus)

    def fault(self) -> str:
        """Return in words what does not fit: how many of how many weights, and one of them."""
        if self.missing:
            return (
                f"it lacks {len(self.missing)} of the {self.total} weights of {self.architecture},"
                f" such as {self.missing[0]}"
            )
        if self.mismatched:
            name, found, needed = self.mismatched[0]
            return (
                f"{len(self.mismatched)} of the {self.total} weights of {self.architecture} have other shapes than"
                f" config.json says, such as {name}: {list(found)} instead of {list(needed)}"
            )
        return f"it has {len(self.surplus)} weights in layers that config.json does not name, such as {self.surplus[0]}"


def _used(names: Iterable[str]) -> list[str]:
    return [name for name in names if not _UNUSED.search(name)]


def _stack_name(encoder: PreTrainedModel) -> str:
    from kdh_ray.models.classifier import encoder_layers

    try:
        stack = encoder_layers(encoder)
    except CheckpointError:  # refused elsewhere
        return "no stack of layers"
    names: Iterator[str] = (name for name, module in encoder.named_modules() if module is stack)
    return next(names)


@dataclass(frozen=True)
class Names:
    """Names of the weights in an encoder's files.

    Attributes:
        renamed: Name in the file -> name in the encoder, for the weights of a wrapped model; empty for any other.
        removed: The parts that were taken off the names, in words.
    """

    renamed: Mapping[str, str]
    removed: str = ""


def match_names(name: str, shapes: Mapping[str, Sequence[int]], config: PreTrainedConfig) -> Names:
    """Match the names in an encoder's files with those of its architecture, without reading weights.

    ``torch.compile``, ``DataParallel``, Lightning, sentence-transformers and other wrappers put a prefix before the
    names of the model inside. Where exactly one prefix hides a whole encoder, it is taken off.

    Args:
        name: The encoder, for messages.
        shapes: Shape of each weight in the files.
        config: Configuration of the encoder.

    Raises:
        CheckpointError: If weights are missing, have other shapes, or belong to layers that the encoder lacks.
    """
    plain = _fit({key: key for key in shapes}, shapes, config)
    if plain.whole:
        return Names({})
    inner = {key: _WRAPPERS.sub("", key) for key in shapes}
    fits = {prefix: _fit(_without(prefix, inner), shapes, config) for prefix in _prefixes(inner.values(), config)}
    found = [prefix for prefix, fit in fits.items() if fit.whole]
    if len(found) == 1:
        return Names(_without(found[0], inner), _removed(found[0], inner))
    if len(found) > 1:
        several = " and ".join(map(repr, sorted(found)))
        raise CheckpointError(f"{name} has several encoders, whose names begin with {several}: {_SAVE_AGAIN}")
    if any(_ADAPTERS.search(key) for key in shapes):
        raise CheckpointError(f"{name} has weights of an adapter (LoRA or the like) that are not merged: {_merge()}")
    closest = min([plain, *fits.values()], key=lambda fit: (len(fit.missing), len(fit.mismatched)))
    raise _misfit(name, closest)


def _misfit(name: str, fit: Fit) -> CheckpointError:
    return CheckpointError(f"{name} is not the encoder that its config.json describes: {fit.fault()}; {_SAVE_AGAIN}")


def _prefixes(names: Iterable[str], config: PreTrainedConfig) -> Iterator[str]:
    """Yield the prefixes without which names are those of the encoder, the most frequent first."""
    own = set(empty_encoder(config).state_dict())
    counts = Counter(
        key[:place]
        for key in names
        for place in [0, *(match.end() for match in re.finditer(r"\.", key))]
        if key[place:] in own
    )
    yield from (prefix for prefix, count in counts.most_common(4) if count > 1)


def _without(prefix: str, names: Mapping[str, str]) -> dict[str, str]:
    return {key: name.removeprefix(prefix) for key, name in names.items() if name.startswith(prefix)}


def _removed(prefix: str, inner: Mapping[str, str]) -> str:
    wrappers = {match[0] for key in inner for match in _WRAPPERS.finditer(key)}
    return " and ".join(repr(part) for part in [*sorted(wrappers), prefix] if part)


def empty_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder without memory for its weights.

    Raises:
        CheckpointError: If transformers has no encoder of this kind, or only a pair of encoder and decoder.
    """
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"), quiet():
            encoder: PreTrainedModel = AutoModel.from_config(config)
    except ValueError:
        raise CheckpointError(f"{config.model_type} is not the architecture of an encoder") from None
    return encoder


def _fit(renamed: Mapping[str, str], shapes: Mapping[str, Sequence[int]], config: PreTrainedConfig) -> Fit:
    """Return the comparison that transformers makes when it loads weights of these names and shapes."""
    import torch

    # One number, seen at every place of the shape: a tensor without memory.
    hollow = {new: torch.zeros(()).expand(shapes[old]) for old, new in renamed.items()}
    return Fit.of(*load_named(hollow, config))


def load_named(weights: Mapping[str, Tensor], config: PreTrainedConfig) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Build an encoder from weights in memory; return it, and transformers' report about the names.

    Args:
        weights: Name in the encoder -> tensor.
        config: Configuration of the encoder.
    """
    import torch

    with quiet():
        encoder, info = type(empty_encoder(config)).from_pretrained(
            None, config=config, state_dict=dict(weights), dtype=torch.float32,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    return encoder, info


def load_unwrapped(files: Sequence[Path], name: str, config: PreTrainedConfig, plain: Fit) -> PreTrainedModel:
    """Load the encoder inside the weights of a wrapped model; see :func:`match_names`.

    Args:
        files: Safetensors files.
        name: The encoder, for messages.
        config: Configuration of the encoder.
        plain: How the names fit as they are.

    Raises:
        CheckpointError: If the files hold no such encoder.
    """
    from safetensors.torch import load_file

    if not files:  # a hub converted them elsewhere
        raise _misfit(name, plain)
    names = match_names(name, read_shapes(files), config).renamed
    weights = {names.get(key, key): value for file in files for key, value in load_file(file).items()}
    return load_named({key: weights[key] for key in names.values()}, config)[0]


def read_shapes(files: Iterable[Path]) -> dict[str, list[int]]:
    """Return the shape of every tensor in safetensors files, from their headers.

    Raises:
        CheckpointError: If a file is missing or damaged, or holds quantised weights.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, list[int]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as content:
                tensors = {key: content.get_slice(key) for key in content.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file} can't be read: {_lfs_pointer(file) or one_line(error)}") from None
        for key, tensor in tensors.items():
            if key.endswith("weight") and tensor.get_dtype() not in _FLOATS:
                raise quantised(str(file.parent), f"{key} is {tensor.get_dtype()}")
        shapes |= {key: tensor.get_shape() for key, tensor in tensors.items()}
    return shapes


def _lfs_pointer(file: Path) -> str:
    """Return what a file is that a clone without Git LFS holds in place of weights; empty if it is another."""
    with suppress(OSError), file.open("rb") as stream:
        if stream.read(len(_LFS)) == _LFS:
            return "it is a pointer of Git LFS, not the weights: run git lfs pull in its folder"
    return ""


def quantised(name: str, reason: str) -> CheckpointError:
    """Return the error for weights that are kept in few bits and can't be trained."""
    return CheckpointError(f"{name} is quantised ({reason}) and can't be trained: take its float32 or 16-bit weights")


def without_config(folder: Path) -> str:
    """Return in words what a folder without a ``config.json`` holds instead, and what to do."""
    if (folder / ADAPTER).exists():
        return f"is an adapter (LoRA or the like) of another encoder: {_merge(folder, str(folder))}"
    if inner := sorted(file.parent.name for file in folder.glob("*/config.json")):
        return f"has no config.json; did you mean {folder / inner[-1]}?"
    others = sorted({file.name for pattern in _OTHER_FORMATS for file in folder.glob(pattern)})
    found = f"has {others[0]}, but no config.json" if others else "has no config.json"
    return f"{found}; an encoder's folder is what save_pretrained writes"


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files in an encoder's folder.

    Args:
        folder: The encoder's folder, or its snapshot in the local hub cache.
        name: The folder, or the hub's name of the encoder.

    Raises:
        CheckpointError: If there are none; says how to convert what is there instead.
    """
    if (folder / ADAPTER).exists():
        raise CheckpointError(f"{name} is an adapter (LoRA or the like) of another encoder: {_merge(folder, name)}")
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        try:
            shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
            return [folder / str(shard) for shard in sorted(shards)]
        except (ValueError, KeyError, AttributeError, TypeError):
            raise CheckpointError(f"{folder / INDEX} is not an index of safetensors files") from None
    raise CheckpointError(f"{name} is not an encoder that can be read: {_conversion(folder, name)}")


def _conversion(folder: Path, name: str) -> str:
    """Return in words what a folder has instead of safetensors, and how to convert it."""
    if pickle := next((file for file in _PICKLES if (folder / file).exists()), None):
        here = str(folder) == name
        origin, target = json.dumps(name), json.dumps(name if here else "FOLDER")
        code = "from transformers import AutoModel as M, AutoTokenizer as T;"
        code += f" M.from_pretrained({origin}, use_safetensors=False).save_pretrained({target})"
        code += "" if here else f"; T.from_pretrained({origin}).save_pretrained({target})"
        return (
            f"its weights are in {pickle}, a pickle, which can run code and is not read; if you trust its origin,"
            f" write them as safetensors: python -c {shlex.quote(code)}"
        )
    others = sorted({file.name for pattern in _OTHER_FORMATS for file in folder.glob(pattern)})
    found = f"it has {others[0]}, but no {WEIGHTS}" if others else f"it has no {WEIGHTS}"
    return f"{found}; {_SAVE_AGAIN}"


def _merge(folder: Path | None = None, name: str = "ADAPTER") -> str:
    """Return in words how to merge an adapter with its encoder."""
    base = "BASE"
    with suppress(OSError, ValueError, KeyError, TypeError):
        if folder is not None:
            base = str(json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"])
    return (
        f"merge it first: peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained({base!r}), {name!r})"
        ".merge_and_unload().save_pretrained('MERGED'), and save the tokenizer there too"
    )
