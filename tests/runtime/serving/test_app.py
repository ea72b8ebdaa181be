"""The API, with a stub for the classifier."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import kdh_runtime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kdh_runtime.audit import Audit
from kdh_runtime.serving.address import LOOPBACK_NAMES
from kdh_runtime.serving.app import make_app
from kdh_runtime.serving.interface import MOST_PER_CALL, Limits, TextResult
from serving_stub import ABOUT, LABELS, LIMITS, predict
from starlette.testclient import TestClient

CANARY = "Ottilie Quendelmann"
TOKEN = "correct-horse-battery-staple"
JSON = {"Content-Type": "application/json"}

client = TestClient(make_app(predict, ABOUT, LIMITS), raise_server_exceptions=False)


def test_predict_returns_labels_and_evidence() -> None:
    text = "No chills. Complains of pain. Fever since Monday."
    answer = client.post("/predict", json={"texts": [text, ""], "evidence": True})
    assert answer.status_code == 200
    first, second = answer.json()["predictions"]
    assert answer.json()["fingerprint"] == ABOUT.fingerprint
    assert first["labels"] == ["pain", "fever"]
    assert first["probabilities"] == {"pain": 0.9, "fever": 0.9, "cough": 0.1}
    begin, end = first["evidence"]["fever"]
    assert text[begin:end].strip() == "Fever since Monday."
    assert second == {"labels": [], "probabilities": dict.fromkeys(LABELS, 0.1), "evidence": {}}


def test_evidence_is_returned_on_request_only() -> None:
    (prediction,) = client.post("/predict", json={"texts": ["pain"]}).json()["predictions"]
    assert prediction.keys() == {"labels", "probabilities"}


def test_no_texts_get_no_predictions() -> None:
    assert client.post("/predict", json={"texts": []}).json()["predictions"] == []


def test_labels_describe_the_classifier() -> None:
    answer = client.get("/labels").json()
    assert answer["labels"][1] == {"name": "fever", "threshold": 0.4}
    assert answer["reading"]["segmenter"]["rule"] == "sentences"
    assert answer["limits"]["texts"] == LIMITS.texts
    assert answer["fingerprint"] == ABOUT.fingerprint


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        (b"{", 400, "must be JSON"),
        (b'{"texts": ["\xff"]}', 400, "must be JSON"),
        (rb'{"texts": ["\ud800"]}', 400, "must be JSON"),
        (b"[" * 100_000, 413, "20000 bytes"),
        (b"[" * 19_000, 400, "must be JSON"),
        (b"{}", 422, '"texts" must be a list of strings'),
        (b"[]", 422, "must be an object"),
        (b'{"texts": "pain"}', 422, '"texts" must be a list of strings'),
        (b'{"texts": ["a", null]}', 422, "texts[1] must be a string"),
        (b'{"texts": ["a"], "evidence": 1}', 422, '"evidence" must be true or false'),
        (b'{"texts": ["a"], "Ottilie Quendelmann": 1}', 422, '"texts" and "evidence" only'),
        (json.dumps({"texts": ["a"] * 9}).encode(), 422, "8 texts; got 9"),
        (json.dumps({"texts": ["a", "b" * 1_001]}).encode(), 422, "texts[1] may have 1000 characters; got 1001"),
    ],
)
def test_wrong_bodies_are_refused_with_the_rule(body: bytes, status: int, rule: str) -> None:
    answer = client.post("/predict", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert rule in answer.json()["error"]
    assert CANARY not in answer.text


def test_a_form_from_another_site_is_refused() -> None:
    answer = client.post("/predict", content=b'{"texts": ["a"]}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_body_without_length_is_limited_too() -> None:
    answer = client.post("/predict", content=iter([b" " * 1_000] * 30), headers=JSON)
    assert answer.status_code == 413


def test_a_body_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdh_runtime.serving.body._BODY_SECONDS", 0.05)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    asyncio.run(make_app(predict, ABOUT)(scope, receive, send))
    assert sent[0]["status"] == 408


words = st.text(string.printable) | st.text()
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"texts": json_values}, optional={"evidence": json_values}).map(
        lambda value: json.dumps(value).encode()
    ),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=10).map(
        lambda texts: json.dumps({"texts": texts, "evidence": True}, ensure_ascii=False).encode()
    ),
)


@settings(max_examples=300, deadline=None)
@given(bodies)
def test_any_body_gets_an_answer_or_a_rule(body: bytes) -> None:
    answer = client.post("/predict", content=body, headers=JSON)
    if answer.status_code == 200:
        texts = json.loads(body)["texts"]
        assert len(answer.json()["predictions"]) == len(texts) <= LIMITS.texts
        assert all(len(text) <= LIMITS.characters for text in texts)
    else:
        assert answer.status_code in (400, 413, 422)
        assert re.fullmatch(r"[ -~]{10,120}", answer.json()["error"])


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_errors_never_quote_the_body(text: str) -> None:
    canary = f"{CANARY}{text}"
    for value in ({"texts": canary}, {"texts": {canary: 1}}, {"texts": [[canary]]}, {canary: 1}, canary, [canary]):
        answer = client.post("/predict", json=value)
        assert answer.status_code == 422
        assert CANARY not in answer.text


def test_an_error_of_the_classifier_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(texts: list[str]) -> list[TextResult]:
        raise ValueError(f"bad text: {texts[0]}")

    failing = TestClient(make_app(fail, ABOUT), raise_server_exceptions=False)
    with caplog.at_level(logging.DEBUG):
        answer = failing.post("/predict", json={"texts": [CANARY]})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the classifier failed on this request"}
    assert CANARY not in caplog.text
    assert "ValueError" in caplog.text


def test_a_wrong_result_ends_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(texts: list[str]) -> list[TextResult]:
        return [TextResult([CANARY], [0.1])]  # three labels have three probabilities

    service = TestClient(make_app(wrong, ABOUT))  # an exception that reached the server would be raised here
    assert service.post("/predict", json={"texts": ["a"]}).json() == {"error": "internal error"}
    assert "Traceback" not in caplog.text
    assert CANARY not in caplog.text


def test_long_requests_are_divided() -> None:
    sizes = []

    async def record(texts: list[str]) -> list[TextResult]:
        sizes.append(len(texts))
        return await predict(texts)

    texts = [str(number) for number in range(2 * MOST_PER_CALL + 5)]
    answer = TestClient(make_app(record, ABOUT)).post("/predict", json={"texts": texts})
    assert sizes == [MOST_PER_CALL, MOST_PER_CALL, 5]
    assert len(answer.json()["predictions"]) == len(texts)


def test_too_many_waiting_texts_are_refused() -> None:
    async def scenario() -> tuple[int, int, int]:
        release = asyncio.Event()

        async def slow(texts: list[str]) -> list[TextResult]:
            await release.wait()
            return await predict(texts)

        from httpx2 import ASGITransport, AsyncClient

        app = make_app(slow, ABOUT, Limits(waiting=3))
        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
            first = asyncio.create_task(http.post("/predict", json={"texts": ["a", "b"]}))
            await asyncio.sleep(0.05)
            refused = await http.post("/predict", json={"texts": ["c", "d"]})
            release.set()
            return (await first).status_code, refused.status_code, int(refused.headers["Retry-After"])

    assert asyncio.run(scenario()) == (200, 503, 1)


def test_a_token_protects_all_but_page_and_health() -> None:
    guarded = TestClient(make_app(predict, ABOUT, tokens={TOKEN: ""}))
    for path in ("/labels", "/metrics", "/openapi.json", "/nothing"):
        assert guarded.get(path).status_code == 401
    refused = guarded.post("/predict", json={"texts": ["pain"]}, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.get("/").status_code == guarded.get("/healthz").status_code == 200
    allowed = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/predict", json={"texts": ["pain"]}, headers=allowed).status_code == 200
    assert guarded.get("/labels", headers={"Authorization": b"Bearer \xe9"}).status_code == 401


def test_another_host_name_is_refused() -> None:
    local = make_app(predict, ABOUT, hosts=LOOPBACK_NAMES)
    for base, status in (
        ("http://127.0.0.1:8000", 200),
        ("http://localhost", 200),
        ("http://[::1]:8000", 200),
        ("http://rebound.example:8000", 400),
    ):
        assert TestClient(local, base_url=base).get("/healthz").status_code == status


def test_metrics_count_without_text() -> None:
    counted = TestClient(make_app(predict, ABOUT, LIMITS))
    counted.post("/predict", json={"texts": ["pain", "fever"]})
    counted.post("/predict", json={"texts": CANARY})
    counted.get(f"/{CANARY}?text={CANARY}")
    text = counted.get("/metrics").text
    assert 'kdh_requests_total{path="/predict",status="200"} 1' in text
    assert 'kdh_requests_total{path="/predict",status="422"} 1' in text
    assert 'kdh_requests_total{path="other",status="404"} 1' in text
    assert "kdh_texts_total 2" in text
    assert "kdh_texts_waiting 0" in text
    assert "kdh_predict_seconds_count 2" in text
    assert CANARY not in text


def test_every_answer_forbids_caching_and_foreign_content() -> None:
    for path in ("/", "/labels", "/nothing", "/metrics"):
        headers = client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://|@import|src=(?!\"data:)", page.text)


def test_openapi_describes_the_api_and_needs_no_network() -> None:
    tree = client.get("/openapi.json").json()
    assert set(tree["paths"]) == {"/predict", "/labels", "/healthz", "/metrics"}
    schema = tree["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["texts"]["maxItems"] == LIMITS.texts
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.html", "//etc/passwd"])
def test_no_path_leads_to_a_file(path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not Found"}


def test_wrong_methods_get_json() -> None:
    assert client.get("/predict").status_code == 405
    assert client.get("/predict").json() == {"error": "Method Not Allowed"}


def test_the_application_imports_no_model() -> None:
    foreign = {"torch", "ray", "transformers", "kdh_ray"}
    code = f"import sys, kdh_runtime.serving.server; sys.exit(bool({foreign} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(kdh_runtime.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def audited(file: Path, **settings: Any) -> TestClient:
    app = make_app(predict, ABOUT, LIMITS, audit=Audit(file, ABOUT.fingerprint, "int8"), **settings)
    return TestClient(app, raise_server_exceptions=False, client=("192.0.2.7", 1234))


def test_the_audit_tells_who_when_and_how_many(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    service = audited(file, tokens={TOKEN: "ward-3", f"{TOKEN}-2": ""})
    texts = [f"{CANARY} has pain and fever.", "Pain."]
    for token in (TOKEN, f"{TOKEN}-2"):
        allowed = {"Authorization": f"Bearer {token}"}
        assert service.post("/predict", json={"texts": texts, "ids": ["n-1", "ü-2"]}, headers=allowed).is_success
    assert service.post("/predict", json={"texts": texts}, headers=allowed).is_success
    assert service.post("/predict", json={"texts": texts}).status_code == 401
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["user"] for line in lines] == ["ward-3", "192.0.2.7", "192.0.2.7"]
    assert [line["ids"] for line in lines] == [["n-1", "ü-2"], ["n-1", "ü-2"], [1, 2]]
    assert lines[0].keys() == {"time", "user", "model", "precision", "ids", "texts", "labels"}
    assert (lines[0]["texts"], lines[0]["labels"]) == (2, {"pain": 2, "fever": 1})
    assert (lines[0]["model"], lines[0]["precision"]) == (ABOUT.fingerprint, "int8")
    assert CANARY not in file.read_text()
    assert TOKEN not in file.read_text()


@pytest.mark.parametrize("ids", [["a"], ["a b", "c"], ["a", "b" * 65], ["a", ""], ["a", 3], "ab", ["a", "b\n"]])
def test_ids_are_short_words_one_for_each_text(ids: Any, tmp_path: Path) -> None:
    answer = audited(tmp_path / "audit.jsonl").post("/predict", json={"texts": ["x", "y"], "ids": ids})
    assert answer.status_code == 422
    assert "ids" in answer.json()["error"]
    assert not (tmp_path / "audit.jsonl").exists()


def test_nothing_is_answered_that_cannot_be_recorded(tmp_path: Path) -> None:
    answer = audited(tmp_path / "missing" / "audit.jsonl").post("/predict", json={"texts": ["pain"]})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the audit file can't be written, so nothing is answered"}
