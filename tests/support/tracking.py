"""Stand-ins for the clients of trackers, which are large: they note in a file what they are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: what every stand-in begins with; TOLD is the file
NOTE = """
import json, os, types
def note(*told):
    with open(os.environ["TOLD"], "a") as file:
        file.write(json.dumps(told) + chr(10))
"""
WANDB = """
def Settings(**given):
    return given
class Run:
    def __init__(self, name):
        self.name = name
        self.summary = types.SimpleNamespace(update=lambda finals: note("summary", name, finals))
    def log(self, row, step):
        note("log", self.name, row, step)
    def finish(self):
        note("finish", self.name)
def init(**given):
    note("init", given["name"], given)
    return Run(given["name"])
"""
MLFLOW = """
class MlflowClient:
    def __init__(self, uri):
        self.uri = uri
    def get_experiment_by_name(self, name):
        return None
    def create_experiment(self, name):
        return "7"
    def create_run(self, experiment, run_name, tags):
        note("run", run_name, tags, self.uri)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_name, start_time=5))
    def log_batch(self, run, metrics=(), params=()):
        note("batch", run, metrics, params)
    def set_terminated(self, run):
        note("end", run)
"""
ENTITIES = """
def Metric(*given):
    return given
Param = Metric
"""
#: a client that refuses, and one that never answers
REFUSES = "def init(**given):\n    raise RuntimeError('no key is set')\ndef Settings(**given):\n    pass\n"
HANGS = "import time\ntime.sleep(10000)\n"


def write_client(folder: Path, name: str, text: str = "") -> Path:
    """Write a stand-in, or a package with the text instead; returns the folder, which is to be on the path."""
    package = folder / name
    package.mkdir(parents=True)
    own = {"wandb": WANDB, "mlflow": MLFLOW}[name]
    (package / "__init__.py").write_text(text or NOTE + own, encoding="utf-8")
    (package / "entities.py").write_text(ENTITIES, encoding="utf-8")
    return folder


def told(file: Path) -> list[list[Any]]:
    """What the stand-ins were told, in order."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
