"""Download of the Hallmarks of Cancer corpus from its authors' repository: resumable, verified, all or nothing."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import IO

from kdh_ray.data.hoc import SPLIT_FILES
from kdh_ray.errors import DataError, UnavailableError

# The repository's last commit, of September 2018.
HOC_URL = "https://github.com/sb895/Hallmarks-of-Cancer/archive/3bc6e6deb90cf5bc4f9988c493fe2c32e9b3cf2a.zip"
HOC_DOCUMENTS = 1852
HOC_DIGEST = "e9dacc108816d0db9c46eea540fa9f7cee8c8fea10294b126b34103e1654040c"  # see corpus_digest
WANTED = re.compile(r"[^/]+/((?:text|labels)/\d+\.txt|LICENSE)")
ATTEMPTS = 4
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if known


def fetch_hoc(
    destination: Path,
    url: str = HOC_URL,
    digest: str = HOC_DIGEST,
    progress: Progress = lambda done, total: None,
    pause: float = 1.0,
) -> bool:
    """Put the corpus at ``destination``, with the published splits beside it.

    What an interrupted download has left (``.NAME.zip.part`` beside the destination) is completed, not repeated. The
    destination appears only once all its files are there and are the expected ones.

    Args:
        destination: A folder that doesn't exist, is empty, or holds the corpus already. An empty one is replaced, so
            it can't be the working folder.
        url: Of a ZIP archive of the repository.
        digest: Expected ``corpus_digest``.
        progress: Called as bytes arrive.
        pause: Seconds before the second attempt; doubled each time.

    Returns:
        Whether anything was downloaded; False if the corpus was there.

    Raises:
        DataError: If the destination holds something else, or the archive is not the corpus.
        UnavailableError: If the server can't be reached, or the disk is full or not writable.
    """
    if not url.startswith(("https://", "http://")):
        raise DataError(f"a URL starts with https:// or http://; got {url!r}")
    destination = Path(os.path.abspath(destination.expanduser()))
    try:
        if destination.is_dir() and any(destination.iterdir()):
            if corpus_digest(destination) == digest:
                return False
            raise DataError(f"{destination}: must be absent, empty or hold HoC as published; holds something else")
        if destination == Path.cwd():
            raise DataError(f"{destination}: must be another folder than the working folder, such as ./hoc")
        destination.parent.mkdir(parents=True, exist_ok=True)
        archive = destination.with_name(f".{destination.name}.zip.part")
        _download(url, archive, progress, pause)
        _unpack(archive, destination, digest)
        archive.unlink()
    except OSError as error:
        raise UnavailableError(f"{destination}: can't be written: {error.strerror or error}") from None
    return True


def corpus_digest(root: Path) -> str:
    """SHA-256 over the names and lines of ``text/`` and ``labels/``; line ends and trailing spaces don't matter."""
    digest = hashlib.sha256()
    for folder in ("labels", "text"):
        for file in sorted((root / folder).glob("*.txt")):
            lines = [line.strip() for line in file.read_bytes().split(b"\n")]
            digest.update(f"{folder}/{file.name}\0".encode() + b"\n".join(lines).strip() + b"\0")
    return digest.hexdigest()


def _download(url: str, archive: Path, progress: Progress, pause: float) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _append(url, archive, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is the whole, or no part of it: unpacking tells
                return None
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:
                break
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        if attempt + 1 < ATTEMPTS:
            time.sleep(pause * 2**attempt)
    raise UnavailableError(
        f"{url} can't be fetched ({reason}); the same command goes on from what has arrived, --url takes a mirror, "
        "or download it elsewhere and unpack it"
    )


def _append(url: str, archive: Path, progress: Progress) -> None:
    """Add to ``archive`` what it lacks; from the start if the server doesn't serve ranges."""
    done = archive.stat().st_size if archive.exists() else 0
    headers = {"User-Agent": "kdh-ray", **({"Range": f"bytes={done}-"} if done else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
        if response.status != 206:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with archive.open("ab" if done else "wb") as file:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _unpack(archive: Path, destination: Path, digest: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        _extract(archive, folder)
        _check(folder, archive, digest)
        (folder / "splits").mkdir()
        for name in SPLIT_FILES.values():
            (folder / "splits" / name).write_bytes((files("kdh_ray.data") / "hoc_splits" / name).read_bytes())
        folder.chmod(0o755)  # temporary folders are private
        folder.replace(destination)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _extract(archive: Path, folder: Path) -> None:
    for name in ("text", "labels"):
        (folder / name).mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                if match := WANTED.fullmatch(entry.filename):
                    with content.open(entry) as source, (folder / match[1]).open("wb") as target:
                        _copy(source, target)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError):
        archive.unlink()
        raise DataError("what was downloaded is not an intact ZIP archive and was deleted; try again") from None


def _copy(source: IO[bytes], target: IO[bytes], limit: int = 1 << 20) -> None:
    """Copy at most 1 MiB: no abstract comes near it, and no archive can fill the disk."""
    target.write(source.read(limit))


def _check(folder: Path, archive: Path, digest: str) -> None:
    counts = {name: sum(1 for _ in (folder / name).iterdir()) for name in ("text", "labels")}
    if corpus_digest(folder) != digest:
        archive.unlink()
        raise DataError(
            f"what was downloaded is not HoC as published and was deleted: {HOC_DOCUMENTS} abstracts with labels are "
            f"expected, with a known checksum; got {counts['text']} with {counts['labels']} label files"
        )
