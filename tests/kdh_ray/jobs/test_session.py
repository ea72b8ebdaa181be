"""How a Ray that doesn't come up is told."""

import pytest

from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError
from kdh_ray.jobs.cluster import ray_session


@pytest.mark.parametrize(
    "error", [Exception("The current node timed out\nduring startup."), ConnectionError("refused")]
)
def test_a_ray_that_does_not_start_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
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
