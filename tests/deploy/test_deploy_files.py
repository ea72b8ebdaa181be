"""Cluster files: valid by the schemas of their readers, a token everywhere, nothing open to everybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERAY = ["deploy/kuberay/raycluster.yaml", "deploy/kuberay/rayjob.yaml"]


def load(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/aws.yaml"])
def test_ray_accepts_its_cluster_files(name: str) -> None:
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = load(name)
    jsonschema.validate(content, json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text()))
    prepared = prepare_config(content)
    validate_config(prepared)
    assert "~/.ray/auth_token" in prepared["file_mounts"]
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "node.sh ray start" in prepared[commands][-1]  # turns authentication on


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/aws.yaml"])
def test_mounted_files_exist(name: str) -> None:
    sources = {source for source in load(name)["file_mounts"].values() if not source.startswith("~")}
    assert {"kdh_ray", "runtime", "searchers", "deploy", "pyproject.toml", "constraints.txt"} <= sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_local_cluster_starts_every_worker() -> None:
    from ray.autoscaler._private.util import prepare_config

    content = load("cluster.yaml")
    prepared = prepare_config(content)
    workers = len(content["provider"]["worker_ips"])
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == workers
    assert "RAY_enable_autoscaler_v2=0" in prepared["head_start_ray_commands"][-1]


def test_aws_workers_are_encrypted_spot_gpus() -> None:
    content = load("deploy/aws.yaml")
    head, worker = content["available_node_types"]["head"], content["available_node_types"]["gpu-spot"]
    assert worker["min_workers"] == 0
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    for node in (head["node_config"], worker["node_config"]):
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"])
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["SecurityGroupIds"]  # or Ray makes one that lets everybody connect by SSH


def test_aws_stack_is_private() -> None:
    resources = load("deploy/aws-stack.yaml")["Resources"]
    storage = resources["Storage"]["Properties"]
    rule = storage["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms"}
    assert all(storage["PublicAccessBlockConfiguration"].values())
    ingress = resources["Group"]["Properties"]["SecurityGroupIngress"]
    assert [(rule["FromPort"], rule["CidrIp"]) for rule in ingress] == [(22, {"Ref": "From"})]


def pods(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the pod templates anywhere in a tree."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("template", "submitterPodTemplate"):
                yield value
            else:
                yield from pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from pods(value)


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_accepts_the_pods(name: str) -> None:
    import kubernetes_validate

    content = load(name)
    jsonschema.validate(content, json.loads(Path(__file__).with_name("kuberay.schema.json").read_text()))
    templates = list(pods(content["spec"]))
    assert templates
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_accepts_the_secret() -> None:
    import kubernetes_validate

    content = load("deploy/kuberay/token-secret.yaml")
    kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)
    assert set(content["stringData"]) == {"auth_token"}


@pytest.mark.parametrize("name", KUBERAY)
def test_containers_read_the_token_from_the_secret(name: str) -> None:
    content = load(name)
    cluster = content["spec"].get("rayClusterSpec", content["spec"])
    containers = [container for pod in pods(content["spec"]) for container in pod["spec"]["containers"]]
    for part in (*containers, cluster["autoscalerOptions"]):
        variables = {entry["name"]: entry for entry in part["env"]}
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {
            "name": "kdh-ray-token",
            "key": "auth_token",
        }
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_job_and_cluster_files_agree() -> None:
    assert (
        load("deploy/kuberay/rayjob.yaml")["spec"]["rayClusterSpec"] == load("deploy/kuberay/raycluster.yaml")["spec"]
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificates_are_valid_for_their_addresses(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "deploy" / "tls" / "certificates.sh", tmp_path)
    subprocess.run([script, "10.0.0.1", "gpu1.ward.example"], check=True, capture_output=True)
    folder = tmp_path / "certificates"
    assert sorted(os.listdir(folder)) == ["ca.crt", "node.crt", "node.key"]
    assert folder.joinpath("node.key").stat().st_mode & 0o077 == 0
    verify = [
        "openssl",
        "verify",
        "-CAfile",
        str(folder / "ca.crt"),
        "-verify_ip",
        "10.0.0.1",
        str(folder / "node.crt"),
    ]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    verify[5] = "10.0.0.2"
    assert subprocess.run(verify, capture_output=True).returncode != 0


def test_shell_scripts_parse() -> None:
    for script in ("deploy/node.sh", "deploy/tls/certificates.sh", "tests/cluster/host.sh", ".ci/run"):
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a container file, each with its arguments on one line."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


@pytest.mark.parametrize("name", ["deploy/runtime/Containerfile", "deploy/serve/Containerfile"])
def test_container_files_run_as_nobody_special_and_report_health(name: str) -> None:
    found = instructions(name)
    kinds = [kind for kind, _ in found]
    users = [value for kind, value in found if kind == "USER"]
    assert users == ["1000"]  # a number: Kubernetes can tell that it isn't root
    assert "HEALTHCHECK" in kinds
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind == "RUN")
    sources = [source for kind, value in found if kind == "COPY" for source in value.split()[:-1]]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    (entry,) = [json.loads(value) for kind, value in found if kind == "ENTRYPOINT"]
    assert "--token-file" in entry
