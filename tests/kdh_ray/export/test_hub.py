"""An export goes to a hub when a user asks for it: a fake hub on this machine answers as the real one does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kdh_ray.errors import UnavailableError
from kdh_ray.export.hub import push_to_hub


class Hub(ThreadingHTTPServer):
    """A hub that keeps what it is sent, or refuses everything.

    Attributes:
        created: Content of each request for a new repository.
        files: Path -> content of each committed file.
        tokens: Authorization header of each request.
        refuses: Whether it answers with 403.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.refuses = False


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers["Authorization"])
        if self.server.refuses:
            return self._send(403, {"error": "You don't have the rights"})
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self._send(200, {"url": f"http://{self.headers['Host']}/group/student", "id": "group/student"})
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._send(200, {"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/group/student/commit/abc"
            return self._send(200, {"commitUrl": url, "commitOid": "abc", "success": True})
        return self._send(200, {"errors": [], "warnings": []})  # the check of a README's metadata

    def do_GET(self) -> None:
        self._send(404, {"error": "not here"})

    def _send(self, code: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *values: Any) -> None:
        """Print nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with Hub() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("---\ntags:\n- onnx\n---\n# student\n")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_folder_becomes_a_private_repository(hub: Hub, student: Path) -> None:
    address = push_to_hub(student, "group/student")
    assert address.endswith("/group/student/commit/abc")
    assert hub.created == [{"name": "student", "organization": "group", "visibility": "private", "type": "model"}]
    assert hub.files == {file.name: file.read_bytes() for file in student.iterdir()}
    assert hub.tokens == {"Bearer hf_test"}


def test_refusal_is_one_line_that_names_the_hub(hub: Hub, student: Path) -> None:
    hub.refuses = True
    with pytest.raises(UnavailableError, match=r"group/student can't be uploaded to http://127.0.0.1:.*403") as caught:
        push_to_hub(student, "group/student")
    assert "\n" not in str(caught.value)
    assert str(student) in str(caught.value)


@pytest.mark.parametrize("name", ["a/b/c", "", "bad name", "../x"])
def test_wrong_name_sends_nothing(hub: Hub, student: Path, name: str) -> None:
    with pytest.raises(UnavailableError, match="a repository is named owner/name"):
        push_to_hub(student, name)
    assert not hub.tokens
