"""A tiny invented corpus in HoC's layout; the real one is under the GPL and never copied."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kdh_ray.data.hoc import HALLMARKS, SPLIT_FILES

REAL = Path(os.environ.get("KDH_RAY_HOC", Path(__file__).parents[3] / ".." / "shared" / "hoc"))
SUBLEVELS = ("", "--Some part", "--Some part--A part of it")


def write_hoc(root: Path, per_split: int = 22, splits: bool = True) -> Path:
    """Write ``per_split`` abstracts per split. Abstract n has hallmark n, in turn, and every eleventh has none."""
    for folder in ("text", "labels", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(SPLIT_FILES.values(), start=1):
        pmids = [str(1000 * number + n) for n in range(per_split)]
        for n, pmid in enumerate(pmids):
            write_abstract(root, pmid, *abstract(n, pmid))
        (root / "splits" / file).write_text("\n".join(pmids) + "\n")
    if not splits:
        for file in (root / "splits").iterdir():
            file.unlink()
        (root / "splits").rmdir()
    return root


def abstract(n: int, pmid: str) -> tuple[list[str], list[str]]:
    """Return three sentences and their label fields, with the peculiarities of the original."""
    sentences = [f"Opening of {pmid} .", f"Mäuse were studied in {pmid} .", f"End\u2028of {pmid} ."]
    if n % 11 == 10:
        return sentences, [" ", "NULL", " "]
    name = HALLMARKS[n % 11] + SUBLEVELS[n % 3]
    both = f"  {name} AND{HALLMARKS[(n + 1) % 10]}--"
    return sentences, [" ", name, both if n % 4 == 0 else " "]


def write_abstract(root: Path, pmid: str, sentences: list[str], fields: list[str]) -> None:
    """Write one abstract's two files."""
    (root / "text" / f"{pmid}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    (root / "labels" / f"{pmid}.txt").write_text("".join(f"<{field}" for field in fields), encoding="utf-8")


def zip_of(root: Path, target: Path, extra: Mapping[str, bytes] | None = None) -> Path:
    """Write a ZIP archive like GitHub's, with everything inside one folder."""
    with zipfile.ZipFile(target, "w") as archive:
        for folder in ("text", "labels"):
            for file in sorted((root / folder).iterdir()):
                archive.write(file, f"Hallmarks-of-Cancer-3bc6e6d/{folder}/{file.name}")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return target
