"""Fixtures: a lab of machines, and a cluster in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cluster_lab as labs
from cluster_user import Cluster, make_encoder

LAB = pytest.StashKey[labs.Lab]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last lines of Ray's logs on every machine when a test or its setup fails."""
    report = yield
    opened = item.config.stash.get(LAB, None)
    if report.failed and opened is not None:
        report.sections += [(f"Ray on {machine.name}", machine.log_ends()) for machine in opened.machines]
    return report


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[labs.Lab]:
    reason = labs.missing()
    if reason:
        pytest.skip(reason)
    opened, switch = labs.open_lab(tmp_path_factory.mktemp("lab"), workers=2)
    pytestconfig.stash[LAB] = opened
    yield opened
    del pytestconfig.stash[LAB]
    switch.kill()
    switch.wait()
    shutil.rmtree(opened.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(lab: labs.Lab) -> Cluster:
    """A running cluster of a head and one worker; the laptop has a token and a wheelhouse, the storage an encoder."""
    make_encoder(lab.shared / "encoder")
    cluster = Cluster(lab)
    lab.laptop.run("make", "token")
    checkout = cluster.home / "kdh-ray"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(checkout / "wheelhouse")]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(checkout)], check=True)
    cluster.fill_in(workers=1)
    cluster.up()
    cluster.joined(2)
    return cluster
