"""The download of HoC, from a local server that serves ranges, breaks off and fails."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hoc_files import REAL, write_hoc, zip_of

from kdh_ray.cli.main import main
from kdh_ray.data.hoc_download import HOC_DIGEST, corpus_digest, fetch_hoc
from kdh_ray.errors import DataError, UnavailableError


@dataclass
class Server:
    """Content of the server and its behaviour: ``breaks`` answers end half-way, ``failures`` are HTTP errors."""

    content: bytes = b""
    ranges: bool = True
    breaks: int = 0
    failures: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if self.failures:
            handler.send_error(self.failures.pop(0))
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start and start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.breaks:
            self.breaks -= 1
            body = body[: len(body) // 2]
        handler.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/hoc.zip"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def published(tmp_path: Path, server: Server) -> Path:
    root = write_hoc(tmp_path / "published")
    evil = {"x/../../outside.txt": b"x", "x/text/../../outside.txt": b"x", "x/README.md": b"x"}
    server.content = zip_of(root, tmp_path / "published.zip", evil).read_bytes()
    return root


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"published", "published.zip"}


def test_fetched_corpus_is_whole(tmp_path: Path, published: Path, server: Server) -> None:
    seen: list[tuple[int, int | None]] = []
    digest = corpus_digest(published)
    assert fetch_hoc(tmp_path / "a" / "hoc", server.url, digest, lambda *at: seen.append(at))
    assert corpus_digest(tmp_path / "a" / "hoc") == digest
    assert (tmp_path / "a" / "hoc" / "splits" / "dev.txt").read_text().split()
    assert seen[-1] == (len(server.content), len(server.content))
    assert left_over(tmp_path / "a") == {"hoc"}
    assert left_over(tmp_path) == {"a"}


def test_destination_is_any_folder_but_the_working_one(
    tmp_path: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match="must be another folder than the working folder"):
        fetch_hoc(Path("."), server.url, corpus_digest(published))
    assert not server.asked
    for destination in ("hoc", "~/hoc", "../there/"):
        assert fetch_hoc(Path(destination), server.url, corpus_digest(published))
    assert left_over(tmp_path) == {"here", "home", "there"}
    assert left_over(tmp_path / "here") == left_over(tmp_path / "home") == {"hoc"}


def test_second_fetch_downloads_nothing(tmp_path: Path, published: Path, server: Server) -> None:
    digest = corpus_digest(published)
    assert fetch_hoc(tmp_path / "hoc", server.url, digest)
    assert not fetch_hoc(tmp_path / "hoc", server.url, digest)
    assert len(server.asked) == 1


def test_broken_download_is_resumed(tmp_path: Path, published: Path, server: Server) -> None:
    server.breaks = 2
    fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published), pause=0)
    half = len(server.content) // 2
    assert server.asked == [None, f"bytes={half}-", f"bytes={half + (len(server.content) - half) // 2}-"]


def test_next_call_resumes_the_download(tmp_path: Path, published: Path, server: Server) -> None:
    (tmp_path / ".hoc.zip.part").write_bytes(server.content[:1000])
    fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published))
    assert server.asked == ["bytes=1000-"]


def test_complete_part_is_only_unpacked(tmp_path: Path, published: Path, server: Server) -> None:
    (tmp_path / ".hoc.zip.part").write_bytes(server.content)
    assert fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published))


def test_server_without_ranges_starts_over(tmp_path: Path, published: Path, server: Server) -> None:
    server.ranges = False
    (tmp_path / ".hoc.zip.part").write_bytes(b"something older")
    fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published))
    assert corpus_digest(tmp_path / "hoc") == corpus_digest(published)


def test_passing_failures_are_retried(tmp_path: Path, published: Path, server: Server) -> None:
    server.failures = [503, 429]
    assert fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published), pause=0)


def test_lasting_failure_names_alternatives(tmp_path: Path, published: Path, server: Server) -> None:
    server.failures = [404] * 9
    with pytest.raises(UnavailableError, match=r"HTTP 404 Not Found.*--url takes a mirror"):
        fetch_hoc(tmp_path / "hoc", server.url, pause=0)
    assert len(server.asked) == 1
    assert left_over(tmp_path) == set()


def test_absent_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="refused") as caught:
        fetch_hoc(tmp_path / "hoc", "http://127.0.0.1:9/hoc.zip", pause=0)
    assert len(str(caught.value).splitlines()) == 1


def test_other_content_is_refused_and_deleted(tmp_path: Path, published: Path, server: Server) -> None:
    with pytest.raises(DataError, match=r"1852 abstracts with labels are expected.*got 66 with 66"):
        fetch_hoc(tmp_path / "hoc", server.url)
    assert left_over(tmp_path) == set()


def test_other_file_type_is_refused_and_deleted(tmp_path: Path, server: Server) -> None:
    server.content = b"<html>sign in to go on</html>"
    with pytest.raises(DataError, match="not an intact ZIP archive"):
        fetch_hoc(tmp_path / "hoc", server.url)
    assert left_over(tmp_path) == set()


def test_damaged_archive_is_refused_and_deleted(tmp_path: Path, published: Path, server: Server) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/text/1.txt", "".join(map(str, range(2000))))
    content = bytearray((tmp_path / "one.zip").read_bytes())
    content[100:1000] = b"\xff" * 900
    server.content = bytes(content)
    with pytest.raises(DataError, match="not an intact ZIP archive"):
        fetch_hoc(tmp_path / "hoc", server.url)
    assert left_over(tmp_path) == {"one.zip"}


def test_folder_with_other_files_is_unchanged(tmp_path: Path, server: Server) -> None:
    (tmp_path / "hoc").mkdir()
    (tmp_path / "hoc" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="holds something else"):
        fetch_hoc(tmp_path / "hoc", server.url)
    assert [path.name for path in (tmp_path / "hoc").iterdir()] == ["thesis.txt"]
    assert server.asked == []


def test_destination_that_is_a_file_is_one_line(tmp_path: Path, published: Path, server: Server) -> None:
    (tmp_path / "hoc").write_text("x")
    with pytest.raises(UnavailableError, match="can't be written"):
        fetch_hoc(tmp_path / "hoc", server.url, corpus_digest(published))
    assert (tmp_path / "hoc").read_text() == "x"


def test_verb_exits_with_two(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.content = b"no archive"
    assert main(["corpus", "fetch", "hoc", str(tmp_path / "hoc"), "--url", server.url]) == 2
    assert capsys.readouterr().err.startswith("kdh-ray: what was downloaded is not")


def test_line_ends_do_not_change_the_digest(tmp_path: Path) -> None:
    root = write_hoc(tmp_path)
    before = corpus_digest(root)
    file = root / "text" / "1000.txt"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert corpus_digest(root) == before
    file.write_bytes(file.read_bytes().replace(b"Opening", b"0pening"))
    assert corpus_digest(root) != before


def test_real_corpus_has_the_shipped_digest() -> None:
    if not (REAL / "text").is_dir():
        pytest.skip("HoC is not here; set KDH_RAY_HOC to its folder")
    assert corpus_digest(REAL) == HOC_DIGEST
