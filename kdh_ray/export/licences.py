"""Licences of corpora and encoders, where they are known: from this project, or from a README with hub metadata."""

from __future__ import annotations

from pathlib import Path

from kdh_ray.config import DataConfig
from kdh_ray.models.encoders import EMBEDDED

_CORPORA = {"hoc": "GPL-3.0"}  # Baker et al. 2016
_EMBEDDED = "apache-2.0"  # all-MiniLM-L6-v2


def corpus_licence(data: DataConfig) -> str | None:
    """Return the licence of a corpus: of a table, that which a README.md next to it names; None if it is unknown."""
    known = _CORPORA.get(data.corpus.partition("-")[0])
    if known is not None or data.path is None:
        return known
    path = Path(data.path)
    return _named_in((path if path.is_dir() else path.parent) / "README.md")


def encoder_licence(source: str) -> str | None:
    """Return the licence of an encoder, from its README.md, which the hub's cache has for a hub name; else None."""
    if source == EMBEDDED:
        return _EMBEDDED
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _named_in(folder / "README.md")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(source, "README.md")
    except HFValidationError:
        return None
    return _named_in(Path(found)) if isinstance(found, str) else None


def _named_in(readme: Path) -> str | None:
    """Return the licence in the metadata of a README for the hub; None if it names none."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        metadata = metadata_load(readme)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError):
        return None
    licence = metadata.get("license") if metadata else None
    return licence if isinstance(licence, str) else None
