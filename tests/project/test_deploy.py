"""The files of deploy/: each is what its reader expects, and every command in them is one that the command line has."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.dashboard.modules.job.cli import submit
from ray.scripts.scripts import cli as ray_cli

from carft.store.records import Store
from carft_cli.app import app
from tests.support.helpers import ROOT, environment

DEPLOY = ROOT / "deploy"
TEXTS = [*sorted(path for path in DEPLOY.iterdir() if path.is_file()), ROOT / "docs" / "cluster.md"]
SECRET = "a secret that belongs in no file"


def words_of(path: Path) -> list[list[str]]:
    """The words of every command line in a file, its comments too; lines that go on are joined."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\\\n\s*|(?<=[a-z])\n#?   +(?=--)", " ", text)
    found = []
    for line in text.splitlines():
        plain = re.sub(r"['\"]|\$\{[^}]*\}|\$\w+", lambda m: "X" if m[0].startswith("$") else " ", line)
        plain = plain.replace("`", " ; ").replace(" #", " ;").replace("; ", " ; ")
        found.append(plain.split())
    return found


def commands_of(path: Path, *starts: tuple[str, ...]) -> list[list[str]]:
    """What follows one of ``starts`` in a file, up to the end of the command."""
    found = []
    for words in words_of(path):
        for start in starts:
            for i in range(len(words)):
                if tuple(words[i : i + len(start)]) == start:
                    rest = words[i + len(start) :]
                    ends = [n for n, word in enumerate(rest) if word in (";", "&&", "|", "&", ">", "--tmux", "||")]
                    found.append(rest[: min(ends, default=len(rest))])
    return found


def carft_commands(path: Path) -> list[list[str]]:
    return commands_of(path, ("python", "cli.py"), (".venv/bin/python", "cli.py"), ("carft", "sweep"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_command_of_ours_is_one_that_the_command_line_has(path: Path) -> None:
    command: Any = typer.main.get_command(app)
    assert carft_commands(path) or path.name not in ("slurm.sh", "submit.sh", "cluster.yaml", "rayjob.yaml")
    for words in carft_commands(path):
        name = words[0] if words and words[0] in command.commands else "sweep"
        known = {option for parameter in command.commands[name].params for option in parameter.opts}
        for group in getattr(command.commands[name], "commands", {}).values():
            known |= {option for parameter in group.params for option in parameter.opts}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, (words, asked - known)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_command_of_ray_is_one_that_ray_has(path: Path) -> None:
    known: Any = ray_cli.commands
    for name in ("start", "status", "up", "down", "exec", "dashboard"):
        options = {option for parameter in known[name].params for option in parameter.opts}
        for words in commands_of(path, ("ray", name), ("/shared/carft/.venv/bin/ray", name)):
            own = words[: words.index("cd")] if "cd" in words else words
            asked = {word.partition("=")[0] for word in own if word.startswith("--")}
            assert asked <= options, (name, asked - options)


def test_the_cluster_file_is_one_that_ray_up_takes() -> None:
    config = yaml.safe_load((DEPLOY / "cluster.yaml").read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"]) == config["min_workers"]
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_the_kubernetes_job_has_what_kuberay_requires() -> None:
    claim, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52)  # KubeRay refuses a token with older ones
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    submitter = job["spec"]["submitterPodTemplate"]["spec"]["containers"]
    images = {container["image"] for group in groups for container in group["template"]["spec"]["containers"]}
    assert images == {submitter[0]["image"]}
    entry = shlex.split(job["spec"]["entrypoint"])
    for group in groups:
        pod = group["template"]["spec"]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert set(mounts) == set(volumes)
        volume = volumes["shared"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        for option in ("--data", "--results"):
            assert entry[entry.index(option) + 1].startswith(mounts[volume["name"]])
    worker = cluster["workerGroupSpecs"][0]
    each = int(worker["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert int(entry[entry.index("--gpus") + 1]) == each * worker["replicas"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_image_has_the_version_of_ray_that_the_job_names() -> None:
    cluster = list(yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text()))[1]["spec"]["rayClusterSpec"]
    assert f"FROM rayproject/ray:{cluster['rayVersion']}-py311" in (DEPLOY / "Dockerfile").read_text()
    assert f"\nray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("project", ["/shared/carft", "/a folder/$(touch owned)"])
def test_submit_hands_its_arguments_over_as_they_are(tmp_path: Path, project: str) -> None:
    fake = tmp_path / "ray"
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$RAY_AUTH_MODE" "$@"\n')
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PROJECT": project}
    given = ["downstream", "--results", "/a folder/results"]
    done = subprocess.run([DEPLOY / "submit.sh", *given], env=env, capture_output=True, text=True, check=True)
    mode, *arguments = done.stdout.splitlines()
    assert mode == "token" and arguments[:2] == ["job", "submit"]
    asked = {word for word in arguments[: arguments.index("--")] if word.startswith("--")}
    assert asked <= {option for parameter in submit.params for option in parameter.opts}  # type: ignore[attr-defined]
    shell, option, entry = arguments[arguments.index("--") + 1 :]
    assert (shell, option) == ("bash", "-c")
    expected = ["cd", project, "&&", "python", "cli.py", "sweep", "--address", "auto", *given]
    assert shlex.split(entry) == expected


def free_port(first: int, last: int) -> int:
    """A port between these that nobody listens on."""
    for port in random.sample(range(first, last), last - first):
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("no port is free")


@pytest.mark.parametrize("name", ["slurm.sh", "cluster.yaml"])
def test_a_head_starts_its_dashboard_without_which_a_stopped_run_hangs(name: str) -> None:
    """On the loopback interface alone; Ray starts it unless told otherwise."""
    (start,) = (line for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines() if "ray start --head" in line)
    assert "--include-dashboard" not in start and re.search(r"--dashboard-host[= ]127\.0\.0\.1 ", start)


#: ``srun`` as Slurm 24.11 has it: what is not said comes from the environment of the job
SRUN = """#!{python}
import os, subprocess, sys
arguments, options = sys.argv[1:], {{}}
while arguments[0].startswith("--"):
    options[arguments[0][2:]] = arguments[1]
    arguments = arguments[2:]
nodes = int(options.get("nodes", os.environ["SLURM_JOB_NUM_NODES"]))
tasks = int(options.get("ntasks", os.environ["SLURM_NTASKS"]))
of_node = int(options.get("ntasks-per-node", os.environ["SLURM_NTASKS_PER_NODE"]))
if tasks > nodes * of_node:
    sys.exit(f"srun: error: {{tasks}} tasks do not fit on {{nodes}} nodes")
cores = options.get("cpus-per-task", "1")
if cores != os.environ["SLURM_CPUS_PER_TASK"]:
    sys.exit(f"srun: error: {{cores}} cores a task")
hosts = [host for host in os.environ["HOSTS"].split() if host != options.get("exclude")]
if nodes > len(hosts):
    sys.exit(f"srun: error: {{nodes}} nodes of {{hosts}}")
with open("srun.txt", "a") as said:
    print(*hosts[:nodes], *arguments[:2], file=said)
started = [subprocess.Popen(arguments, start_new_session=False) for _ in range(tasks)]
sys.exit(max(process.wait() for process in started))
"""


def write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def slurm_job(folder: Path, nodes: int, python: str | None = None) -> dict[str, str]:
    """The environment of a job on nodes of one task and one core each, with programs of Slurm in a folder.

    python: what a program of this name does, once it has noted how it was called; beside it is a ``ray`` that only
    waits. Without it both are the real ones.
    """
    write_program(folder / "srun", SRUN.format(python=sys.executable))
    write_program(folder / "scontrol", '#!/bin/bash\necho "$@" >>scontrol.txt\nprintf "%s\\n" $HOSTS\n')
    if python is not None:
        write_program(folder / "ray", '#!/bin/bash\necho "$@" >>ray.txt\n[ "$1" = status ] || exec sleep 600\n')
        write_program(folder / "python", f'#!/bin/bash\necho "$@" >>python.txt\n{python}\n')
    return environment() | {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(free_port(20000, 30000) % 10000), "SLURM_JOB_NODELIST": "here",
        "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_NTASKS": str(nodes), "SLURM_NTASKS_PER_NODE": "1",
        "HOSTS": " ".join(f"node-{number}.invalid" for number in range(nodes)),
        "SLURM_CPUS_PER_TASK": "1", "RESULTS": str(folder / "results"),
    }  # fmt: skip


def run_job(folder: Path, env: dict[str, str], *arguments: str) -> int:
    """Run the script; its exit code."""
    return subprocess.run(["bash", DEPLOY / "slurm.sh", *arguments], cwd=folder, env=env, check=False).returncode


def test_the_slurm_script_starts_one_ray_on_every_node(tmp_path: Path) -> None:
    waits = 'timeout 60 bash -c "until grep -c ^start ray.txt | grep -qx $3; do sleep 0.1; done"'
    env = slurm_job(tmp_path, 2, f'[ "$1" != - ] || {waits}')
    assert run_job(tmp_path, env, "--searches", "3") == 0
    starts = [line for line in (tmp_path / "ray.txt").read_text().splitlines() if line.startswith("start")]
    assert len([line for line in starts if "--head" in line]) == 1 and len(starts) == 2
    said = (tmp_path / "srun.txt").read_text().split()
    assert said == ["node-1.invalid", "ray", "start"]  # every node but this one
    (sweep,) = re.findall(
        r"cli.py sweep downstream --address (\S+):\d+ .*--searches 3$", (tmp_path / "python.txt").read_text(), re.M
    )
    assert not ipaddress.ip_address(sweep).is_loopback
    assert all(sweep in line for line in starts)
    assert not (tmp_path / "scontrol.txt").read_text().count("requeue")


def test_the_slurm_script_copies_packed_data_to_a_disk_of_each_node(tmp_path: Path) -> None:
    packed, disk = tmp_path / "packed", tmp_path / f"carft-data-{os.getuid()}"
    (packed / "pets").mkdir(parents=True)
    (packed / "pets" / "train-000000.tar").write_text("images")
    disk.mkdir()  # of a job that was cut short
    assert run_job(tmp_path, slurm_job(tmp_path, 1, "") | {"PACKED": str(packed), "DISK": str(tmp_path)}) == 0
    assert (disk / "pets" / "train-000000.tar").read_text() == "images"
    assert not [*tmp_path.glob("*.job-*")]
    assert f"--data {disk}" in (tmp_path / "python.txt").read_text()


@pytest.mark.parametrize(("name", "requeues"), [("SIGUSR1", 1), ("SIGTERM", 0)])
def test_a_slurm_job_out_of_time_is_queued_again(tmp_path: Path, name: str, requeues: int) -> None:
    """A job that is cancelled is not; one that is preempted, Slurm queues again by --requeue."""
    sweep = """[ "$1" = cli.py ] || exit 0
trap 'echo stopped >stopped.txt; exit 143' TERM
touch runs.txt
while true; do sleep 0.1; done
"""
    env = slurm_job(tmp_path, 1, sweep)
    process = subprocess.Popen(["bash", DEPLOY / "slurm.sh"], cwd=tmp_path, env=env, start_new_session=True)
    try:
        while not (tmp_path / "runs.txt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.Signals[name])
        assert process.wait(timeout=60) == 143
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "stopped.txt").is_file()
    assert (tmp_path / "scontrol.txt").read_text().count("requeue") == requeues


@pytest.mark.parametrize(("code", "reports"), [(1, 1), (2, 0)])
def test_a_slurm_job_with_failed_cells_has_a_report_and_their_exit_code(
    tmp_path: Path, code: int, reports: int
) -> None:
    assert run_job(tmp_path, slurm_job(tmp_path, 1, f'[ "$2" != sweep ] || exit {code}')) == code
    assert (tmp_path / "python.txt").read_text().count("cli.py report") == reports


@pytest.mark.full
@pytest.mark.slow
def test_the_slurm_script_goes_from_nothing_to_a_report(tmp_path: Path) -> None:
    """On two nodes of this machine, with Slurm's programs of the test's own; all else is the real thing."""
    recipe = yaml.safe_load((ROOT / "sweeps" / "recipes" / "miniature.yaml").read_text())
    recipe |= {"name": "tiny", "tasks": ["icons-3/mix-7"], "methods": ["zeroshot", "ft"], "trials": 1, "seeds": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    env = slurm_job(tmp_path, 2) | {"AWS_SECRET_ACCESS_KEY": SECRET, "RECIPE": str(tmp_path / "tiny.yaml")}
    (tmp_path / "cli.py").symlink_to(ROOT / "cli.py")
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            ["bash", DEPLOY / "slurm.sh"], cwd=tmp_path, env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(timeout=900)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
    said = (tmp_path / "output.txt").read_text()
    assert code == 0, said
    assert len(Store(tmp_path / "results").ids()) == 3
    assert (tmp_path / "results" / "report" / "index.html").is_file()
    kept = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
