"""Several machines on one: each is a set of namespaces with its own processes, network, disk and sshd.

One of them is the user's laptop, with a copy of the checkout. Nothing outside the lab changes: the switch is in a
network namespace of its own. The lab's first process ends with this one, and the kernel then removes every process,
mount and interface of the lab.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

NETWORK = "10.77.0"
CHECKOUT = Path(__file__).parents[2]
TOOLS = ("unshare", "nsenter", "setpriv", "ip", "ssh", "ssh-keygen", "rsync", "/usr/sbin/sshd")
# Ray's own limits are too short for a machine that runs a whole cluster.
PATIENCE = {
    "RAY_worker_niceness": 0,  # Ray's default, 15, starves trials on a busy machine
    "RAY_agent_register_timeout_ms": 300_000,
    "RAY_worker_register_timeout_seconds": 300,
    "RAY_health_check_failure_threshold": 30,
    "RAY_gcs_server_request_timeout_seconds": 180,
    "RAY_gcs_server_port_wait_time_s": 180,
    "RAY_raylet_client_num_connect_attempts": 180,  # one per second
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": 300,
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": 300,
}
_NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")


def missing() -> str:
    """Return the reason why this machine can't run a lab; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a lab of machines needs Linux and root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (openssh-server, rsync, iproute2, util-linux)"
    trial = subprocess.run(
        ["unshare", *_NAMESPACES, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        capture_output=True, text=True,
    )  # fmt: skip
    return f"namespaces are not allowed here: {trial.stderr.strip()}" if trial.returncode else ""


@dataclass
class Machine:
    """One machine of a lab."""

    name: str
    address: str
    pid: int

    def start(self, *command: str, **options: object) -> subprocess.Popen[str]:
        """Start a command in a login shell of root on the machine."""
        shell = ["bash", "--login", "-c", 'cd ~/kdh-ray 2> /dev/null || cd; exec "$@"', "bash", *command]
        enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p"]
        environment = ["env", "-i", "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "OMP_NUM_THREADS=1"]
        return subprocess.Popen(
            [*enter, *environment, *shell], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options,
        )  # type: ignore[call-overload]  # fmt: skip

    def run(self, *command: str, timeout: float = 240, code: int | None = 0) -> str:
        """Run a command on the machine, check its exit code (None: any), and return its output."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{self.name}: {' '.join(command)} took more than {timeout:g} s") from None
        if code is not None and process.returncode != code:
            raise AssertionError(f"{self.name}: {' '.join(command)} ended with {process.returncode}:\n{output}")
        return output

    def crash(self) -> None:
        """Kill every process at once, as a power cut does, and stay off; the disk keeps its content."""
        self.run("bash", "-c", "kill -9 -1", code=None)
        time.sleep(1)  # until the other machines see its connections close
        self._network("down")

    def boot(self) -> None:
        """Switch the machine on again, with sshd but without Ray."""
        self._network("up")

    def _network(self, state: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "ip", "link", "set", "eth0", state], check=True)

    def ray_processes(self) -> list[str]:
        """Return the command lines of Ray's processes on the machine."""
        lines = self.run("ps", "ax", "-o", "args=").splitlines()
        return [line for line in lines if "ray::" in line or "raylet" in line or "/ray/" in line or "ray start" in line]

    def log_ends(self, lines: int = 12) -> str:
        """Return the last lines of Ray's logs of the last session, and the sockets that listen."""
        logs = "{gcs_server,raylet,dashboard,dashboard_agent,runtime_env_agent,monitor}.{out,err,log}"
        script = f"cd /tmp/ray/session_latest/logs && tail -n {lines} {logs} 2> /dev/null | cut -c1-300"
        return self.run("bash", "-c", f"ls -d /tmp/ray/session_*; {script}; ss -ltnH", code=None)

    def listening(self) -> list[str]:
        """Return ``address:port`` of every TCP socket that listens on the machine."""
        return [line.split()[3] for line in self.run("ss", "-ltnH").splitlines()]


@dataclass
class Lab:
    """A laptop and the machines of a cluster: ``machines[0]`` is the head, the others are workers."""

    folder: Path
    laptop: Machine = field(init=False)
    machines: list[Machine] = field(init=False)

    @property
    def shared(self) -> Path:
        """Folder that every machine sees as ``/mnt``."""
        return self.folder / "shared"


def open_lab(folder: Path, workers: int) -> tuple[Lab, subprocess.Popen[bytes]]:
    """Start a lab in ``folder``; killing the returned process ends it."""
    lab = Lab(folder)
    names = ["laptop", "head", *(f"worker{number}" for number in range(1, workers + 1))]
    addresses = {name: f"{NETWORK}.{9 + number}" for number, name in enumerate(names)}
    lab.shared.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    exposed = {Path(sys.prefix), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    (folder / "exposed").write_text("".join(f"{path}\n" for path in sorted(exposed)))
    switch = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "bash", "-c",
         "ip link add switch type bridge && ip link set switch up && read -r _"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    inside = _first_process(switch.pid, 2)
    machines = [_boot(folder, inside, name, address) for name, address in addresses.items()]
    lab.laptop, lab.machines = machines[0], machines[1:]
    _furnish_laptop(folder / "laptop" / "root", folder / "key")
    return lab, switch


def _boot(folder: Path, switch: int, name: str, address: str) -> Machine:
    disk = folder / name
    for directory in ("root", "tmp"):
        (disk / directory).mkdir(parents=True)
    _furnish(disk / "root")
    process = subprocess.Popen(
        ["nsenter", "-t", str(switch), "-p", "-n", "unshare", *_NAMESPACES,
         "bash", str(CHECKOUT / "tests" / "cluster" / "host.sh"), str(folder), name, address],
        stdin=subprocess.DEVNULL, stdout=(disk / "log").open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    machine = Machine(name, address, _first_process(process.pid, 3))
    port = f"{name[:4]}{address.rpartition('.')[2]}"
    in_switch = ["nsenter", "-t", str(switch), "-n"]
    inside = ["nsenter", "-t", str(machine.pid), "-n"]
    for command in (
        [*in_switch, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)],
        [*in_switch, "ip", "link", "set", port, "master", "switch", "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        [*inside, "ip", "addr", "add", f"{address}/24", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
    ):
        subprocess.run(command, check=True)
    return machine


def _first_process(pid: int, depth: int) -> int:
    """Return the process, ``pid`` or below it, that is number 1 of the ``depth``-th process namespace, as seen here."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        descendants = [pid]
        for parent in descendants:
            try:
                status = Path(f"/proc/{parent}/status").read_text()
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            except OSError:
                continue
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) >= depth and numbers[-1] == "1" and "bash" in status.splitlines()[0]:
                return parent
            descendants += map(int, children)
        time.sleep(0.05)
    raise RuntimeError(f"no machine came up below process {pid}")


def _furnish(home: Path) -> None:
    """Prepare a machine: Python on its path, and the packages that the project needs in ~/.kdh-ray/venv."""
    environment = home / ".kdh-ray" / "venv"
    venv.create(environment, symlinks=True)
    packages = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    ours = packages.relative_to(environment)
    (packages / "base.pth").write_text(f"{Path(sys.prefix) / ours}\n")
    script = (Path(sys.prefix) / "bin" / "ray").read_text().splitlines()
    python = "/root/.kdh-ray/venv/bin/python"
    (environment / "bin" / "ray").write_text("\n".join([f"#!{python}", *script[1:]]) + "\n")
    (environment / "bin" / "ray").chmod(0o755)
    base = Path(sys.base_prefix) / "bin"
    path = f"PATH={base}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings = [path, *(f"{name}={value}" for name, value in PATIENCE.items())]
    (home / ".bashrc").write_text("".join(f"export {setting}\n" for setting in settings))
    (home / ".bash_profile").write_text(". ~/.bashrc\n")


def _furnish_laptop(home: Path, key: Path) -> None:
    """Prepare the laptop: the checkout, the project installed from it, and the SSH key."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (CHECKOUT / name).exists():
            (home / "kdh-ray" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, home / "kdh-ray" / name)
    with (home / ".bashrc").open("a") as file:
        file.write(f'export PATH="{Path(sys.prefix) / "bin"}:$PATH" PYTHONPATH=/root/kdh-ray\n')
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy2(key, home / ".ssh" / "id_ed25519")
