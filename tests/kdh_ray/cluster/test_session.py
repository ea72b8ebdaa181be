"""The start of Ray, and the error if it does not start."""

import os

import pytest

from kdh_ray.cluster.session import ray_session
from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError


def test_ray_gets_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def record(**arguments: object) -> None:
        asked.update(arguments)
        raise ConnectionError

    monkeypatch.setattr("ray.init", record)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3}, raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for cpus, expected in ((None, 1), (4, 4)):
        with pytest.raises(UnavailableError), ray_session(JobConfig(), cpus=cpus):
            pass
        assert asked["num_cpus"] == expected


def test_no_cluster_is_joined_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def record(address: object = None, **_: object) -> None:
        asked.append(address)
        raise ConnectionError

    monkeypatch.setattr("ray.init", record)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "10.0.0.7:6379"):
        with pytest.raises(UnavailableError), ray_session(JobConfig(address=address)):
            pass
    assert asked == ["local", "10.0.0.7:6379"]


@pytest.mark.parametrize(("address", "clusters"), [(None, False), ("10.0.0.7:6379", True)])
def test_only_a_cluster_is_open_to_the_network(
    address: str | None, clusters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    seen: list[tuple[str | None, bool]] = []

    def record(**_: object) -> None:
        seen.append((os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER))
        raise ConnectionError

    monkeypatch.setattr("ray.init", record)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    with pytest.raises(UnavailableError), ray_session(JobConfig(address=address)):
        pass
    assert seen == [(None if clusters else "0", clusters)]
    assert (os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER) == (None, True)


def test_own_network_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    seen: list[str | None] = []

    def record(**_: object) -> None:
        seen.append(os.environ.get(name))
        raise ConnectionError

    monkeypatch.setattr("ray.init", record)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv(name, "1")
    with pytest.raises(UnavailableError), ray_session(JobConfig()):
        pass
    assert seen == ["1"]


@pytest.mark.parametrize("shown", [True, False])
def test_dashboard_is_optional(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def record(**arguments: object) -> None:
        asked.update(arguments)
        raise ConnectionError

    monkeypatch.setattr("ray.init", record)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UnavailableError), ray_session(JobConfig(dashboard=shown)):
        pass
    assert asked["include_dashboard"] is shown


@pytest.mark.parametrize(
    "error", [Exception("The current node timed out\nduring startup."), ConnectionError("refused")]
)
def test_failed_start_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("ray.init", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(UnavailableError, match=r"^a local Ray can't be reached or started: ") as raised,
        ray_session(JobConfig()),
    ):
        pass
    assert "\n" not in str(raised.value)
