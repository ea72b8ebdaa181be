"""Download of the Hallmarks of Cancer corpus from its authors' repository.

An interrupted download is resumed, its content is verified, and the destination appears whole or not at all.
"""

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

from kdh_ray.data.hoc import SPLIT_FILES
from kdh_ray.errors import DataError, UnavailableError

# The repository's last commit, from September 2018.
HOC_URL = "https://github.com/sb895/Hallmarks-of-Cancer/archive/3bc6e6deb90cf5bc4f9988c493fe2c32e9b3cf2a.zip"
HOC_DOCUMENTS = 1852
HOC_DIGEST = (
    "e9dacc108816d0db9c46eea540fa9f7cee8c8fea10294b126b34103e1654040c"  # corpus_digest of the corpus as published
)
FILES_TO_UNPACK = re.compile(r"[^/]+/((?:text|labels)/\d+\.txt|LICENSE)")
MAX_FILE_BYTES = 1 << 20  # no abstract is nearly as long, and no archive can fill the disk
CHUNK_BYTES = 1 << 16
TIMEOUT = 30  # seconds without an answer
ATTEMPTS = 4
PARTIAL_CONTENT = 206  # HTTP: the server sends the range that was asked for
RANGE_NOT_SATISFIABLE = 416  # HTTP: the range starts beyond the end of the file
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500  # and above: may pass
Progress = Callable[[int, int | None], None]  # called with bytes so far, and bytes in all if known


def fetch_hoc(
    destination: Path,
    url: str = HOC_URL,
    digest: str = HOC_DIGEST,
    progress: Progress = lambda done, total: None,
    pause: float = 1.0,
) -> bool:
    """Download the corpus into ``destination``, together with the published splits.

    The archive is kept next to the destination as ``.NAME.zip.part`` until it is unpacked, so that a further call
    resumes an interrupted download. The destination appears only when all its files are verified.

    Args:
        destination: A folder that doesn't exist, is empty, or holds the corpus already. An empty folder is replaced,
            so it can't be the working folder.
        url: Address of a ZIP archive of the repository.
        digest: Expected :func:`corpus_digest`.
        progress: Called as bytes arrive.
        pause: Seconds before the second attempt; doubled for each further one.

    Returns:
        True after a download, False if the corpus was already there.

    Raises:
        DataError: If the destination holds something else, or the archive is not the corpus.
        UnavailableError: If the server can't be reached, or the disk is full or not writable.
    """
    if not url.startswith(("https://", "http://")):
        raise DataError(f"a URL starts with https:// or http://; got {url!r}")
    destination = Path(os.path.abspath(destination.expanduser()))
    try:
        if _holds_corpus(destination, digest):
            return False
        destination.parent.mkdir(parents=True, exist_ok=True)
        archive = destination.with_name(f".{destination.name}.zip.part")
        _download(url, archive, progress, pause)
        _unpack(archive, destination, digest)
        archive.unlink()
    except OSError as error:
        raise UnavailableError(f"{destination}: can't be written: {error.strerror or error}") from None
    return True


def _holds_corpus(destination: Path, digest: str) -> bool:
    """Return whether the corpus is already there; refuse a folder that it can't be put into."""
    if destination.is_dir() and any(destination.iterdir()):
        if corpus_digest(destination) == digest:
            return True
        raise DataError(f"{destination}: must be absent, empty or hold HoC as published; holds something else")
    if destination == Path.cwd():
        raise DataError(f"{destination}: must be another folder than the working folder, such as ./hoc")
    return False


def corpus_digest(root: Path) -> str:
    """Compute the SHA-256 of the names and lines of ``text/`` and ``labels/``.

    Line ends, and white space around lines, have no effect on it.
    """
    digest = hashlib.sha256()
    for folder in ("labels", "text"):
        for file in sorted((root / folder).glob("*.txt")):
            lines = [line.strip() for line in file.read_bytes().split(b"\n")]
            digest.update(f"{folder}/{file.name}\0".encode() + b"\n".join(lines).strip() + b"\0")
    return digest.hexdigest()


def _download(url: str, archive: Path, progress: Progress, pause: float) -> None:
    """Download into ``archive``, after what is already in it, with several attempts."""
    for attempt in range(ATTEMPTS):
        try:
            return _append(url, archive, progress)
        except urllib.error.HTTPError as error:
            if error.code == RANGE_NOT_SATISFIABLE:
                return None  # the archive is complete, or is another file, as unpacking will show
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < SERVER_ERROR and error.code != TOO_MANY_REQUESTS:
                break  # a further attempt would get the same answer
        except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        if attempt + 1 < ATTEMPTS:
            time.sleep(pause * 2**attempt)
    raise UnavailableError(
        f"{url} can't be fetched ({reason}); the same command resumes the download, --url takes a mirror, "
        "or download it elsewhere and unpack it"
    )


def _append(url: str, archive: Path, progress: Progress) -> None:
    """Download the rest of ``archive``, or all of it if the server doesn't serve ranges."""
    done = archive.stat().st_size if archive.exists() else 0
    headers = {"User-Agent": "kdh-ray", **({"Range": f"bytes={done}-"} if done else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        if response.status != PARTIAL_CONTENT:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with archive.open("ab" if done else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _unpack(archive: Path, destination: Path, digest: str) -> None:
    """Unpack into a temporary folder, verify it, and give it the destination's name."""
    folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        _extract(archive, folder)
        _check_content(folder, archive, digest)
        (folder / "splits").mkdir()
        for name in SPLIT_FILES.values():
            (folder / "splits" / name).write_bytes((files("kdh_ray.data") / "hoc_splits" / name).read_bytes())
        folder.chmod(0o755)  # temporary folders are readable by their owner only
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
                if match := FILES_TO_UNPACK.fullmatch(entry.filename):
                    with content.open(entry) as source, (folder / match[1]).open("wb") as target:
                        target.write(source.read(MAX_FILE_BYTES))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError):
        archive.unlink()
        raise DataError("what was downloaded is not an intact ZIP archive and was deleted; try again") from None


def _check_content(folder: Path, archive: Path, digest: str) -> None:
    counts = {name: sum(1 for _ in (folder / name).iterdir()) for name in ("text", "labels")}
    if corpus_digest(folder) != digest:
        archive.unlink()
        raise DataError(
            f"what was downloaded is not HoC as published and was deleted: {HOC_DOCUMENTS} abstracts with labels are "
            f"expected, with a known checksum; got {counts['text']} with {counts['labels']} label files"
        )
