"""``kdh-ray doctor``."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from kdh_ray import hardware
from kdh_ray.cli import doctor
from kdh_ray.cli.main import main
from kdh_ray.hardware import Gpu, Hardware
from kdh_ray.models import model_hub


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fake a machine with AMX and enough of everything; tests take things away. No test asks the real hub."""
    from huggingface_hub import constants

    parts: dict[str, Any] = {
        "processor": "Xeon", "vendor": "GenuineIntel", "flags": frozenset({"amx_bf16"}), "logical_cores": 8,
        "affinity": 8, "quota": None, "memory": 64 * 10**9, "memory_available": 32 * 10**9,
    }  # fmt: skip
    parts["gflops"] = {"float32": 200.0, "bfloat16": 2400.0}
    monkeypatch.setattr(
        hardware, "describe", lambda: Hardware(**{name: part for name, part in parts.items() if name != "gflops"})
    )
    monkeypatch.setattr(hardware, "matmul_speed", lambda kind, *_, **__: parts["gflops"][kind])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return parts


def advice() -> str:
    return "\n".join(doctor.examine(seconds=0.0).advice)


def test_every_finding_has_a_line(machine: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    names = ("cores", "gpu", "threads", "precision", "memory", "disk", "embedded encoder", "model hub", "versions")
    assert set(names) <= lines.keys()
    assert lines["precision"] == "bfloat16 (the processor has AMX)"
    assert lines["matrix products"].startswith("float32 200 GFLOP/s, bfloat16 2,400 GFLOP/s (12 times float32)")


def test_json_holds_numbers(machine: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hardware"]["cores"] == 8
    assert found["precision"] == {"chosen": "bfloat16", "gflops": machine["gflops"]}
    assert found["hub"] == {"reachable": False, "offline": True, "state": "not asked: HF_HUB_OFFLINE is set"}


def test_advice_on_processor_without_bfloat16(machine: dict[str, Any]) -> None:
    assert "no AMX" not in advice()
    machine["flags"] = frozenset({"avx2"})
    machine["gflops"] = {"float32": 60.0, "bfloat16": 1.0}
    assert doctor.examine(0.0).data["precision"]["chosen"] == "float32"
    assert "no AMX or avx512_bf16: training runs in float32" in advice()
    assert "precision=bfloat16" not in advice()


def test_advice_when_measurement_contradicts_precision(machine: dict[str, Any]) -> None:
    machine["gflops"] = {"float32": 200.0, "bfloat16": 100.0}
    assert "--set precision=float32" in advice()
    machine["flags"] = frozenset()
    machine["gflops"] = {"float32": 200.0, "bfloat16": 400.0}
    assert "--set precision=bfloat16" in advice()


def test_advice_on_wrong_thread_counts(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OMP_NUM_THREADS" not in advice()
    machine["quota"] = 2.0
    assert "8 threads for 2 usable cores" in advice()
    machine["quota"] = None
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "torch uses 1 of 8 cores (OMP_NUM_THREADS=1)" in advice()


def test_advice_on_low_memory_and_load(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    machine["memory_available"] = 2 * 10**9
    monkeypatch.setattr("os.getloadavg", lambda: (7.0, 0.0, 0.0), raising=False)
    assert "2.0 GB of memory are available" in advice()
    assert "load 7.0 on 8 usable cores" in advice()


def test_concurrent_trials_match_a_search(machine: dict[str, Any]) -> None:
    machine["memory_available"] = 60 * 10**9
    assert doctor.examine(0.0).facts["trials at once"].startswith("8 of one core and ")
    machine["memory_available"] = 16 * 10**9
    report = doctor.examine(0.0)
    assert report.data["trials"]["by_memory"] < 8
    assert report.facts["trials at once"].startswith(f"{report.data['trials']['by_memory']} of one core")
    assert any("memory holds" in line for line in report.advice)
    machine |= {"gpus": (Gpu("H100", 80 * 10**9, True),), "memory_available": 32 * 10**9}
    report = doctor.examine(0.0)
    assert report.facts["trials at once"].startswith("1 of one core, one GPU and ")
    assert any("tune.gpus_per_trial" in line for line in report.advice)


def test_interruption_gives_no_hint_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "execute", interrupt)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "kdh-ray: interrupted\n"


def test_advice_on_missing_encoder(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdh_ray.models.encoders.find_spec", lambda name: None)
    report = doctor.examine(0.0)
    assert report.facts["embedded encoder"] == "not usable"
    assert any("pip install" in line for line in report.advice)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/" else 403)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_negative_seconds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--seconds", "-1"]) == 2
    assert capsys.readouterr().err == "kdh-ray: command line: --seconds must be 0 or more; got -1\n"


def test_hub_is_reachable_if_it_answers(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    assert model_hub.hub_state(f"{address}/") == "reachable"
    assert model_hub.hub_state(f"{address}/blocked") == "not reachable: answers with HTTP 403"
    assert model_hub.hub_state("not a url").startswith("not reachable: ")


def test_refused_connections_are_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    assert model_hub.hub_state(f"http://127.0.0.1:{port}/").startswith("not reachable: ")


def test_advice_on_unreachable_hub(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model_hub, "hub_state", lambda endpoint: "reachable")
    assert "HF_ENDPOINT" not in advice()
    monkeypatch.setattr(model_hub, "hub_state", lambda endpoint: "not reachable: timed out")
    assert "set HF_ENDPOINT to a mirror" in advice()


def test_advice_on_a_second_owner_of_the_runtime(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kdh-runtime" not in advice()
    monkeypatch.setattr("kdh_ray.cli.doctor.metadata.version", lambda name: "0.2.0")
    assert "kdh-runtime is installed next to kdh-ray" in advice()
