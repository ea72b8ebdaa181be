"""Model cards that people filled in: a further export of the classifier keeps them, and writes its own next to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdh_ray.export.model_card import CARDS
from kdh_ray.models.encoders import sha256


def card_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each model card in a folder, as an export writes them into its configuration."""
    return {name: sha256(folder / name) for name in CARDS if (folder / name).is_file()}


def keep_edited_cards(earlier: Path, place: Path, sums: Mapping[str, str]) -> tuple[str, ...]:
    """Copy the model cards that were edited since an earlier export, and rename the new ones; see :func:`beside`.

    Args:
        earlier: Folder of the earlier export, which need not exist.
        place: Folder of the new export, with cards of its own.
        sums: Digests of the earlier export's files, for one that doesn't name those of its cards in config.json.

    Returns:
        Names of the cards that were kept.
    """
    written = _config(earlier).get("cards", sums)
    edited = tuple(name for name, digest in card_digests(earlier).items() if digest != written.get(name))
    for name in edited:
        (place / name).rename(place / beside(name))
        shutil.copyfile(earlier / name, place / name)
    return edited


def beside(name: str) -> str:
    """Return the name of a new card next to an edited one: ``README.new.md``."""
    file = Path(name)
    return f"{file.stem}.new{file.suffix}"


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
