"""What `launchers/` does in an environment like that of its scheduler: no such machine is at hand."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from several import STEPS, command, environment, rows, wait_for_checkpoint

from experiments.shared import processes

ROOT = Path(__file__).parents[2]
SRUN = """#!{python}
import os, subprocess, sys
shared = dict(os.environ, SLURM_JOB_ID="77", SLURM_STEP_NODELIST="localhost", SLURM_NTASKS="2")
tasks = [subprocess.Popen(sys.argv[2:], env=dict(shared, SLURM_PROCID=str(i), SLURM_LOCALID=str(i))) for i in range(2)]
open(os.environ["TASKS"], "w").write(" ".join(str(task.pid) for task in tasks))
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$SCONTROL_LOG"
"""


@pytest.fixture
def cluster(tmp_path) -> dict[str, str]:
  """The environment of a batch script of SLURM, whose srun starts two tasks on this machine."""
  tools = tmp_path / "bin"
  tools.mkdir()
  for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
    (tools / name).write_text(text.format(python=sys.executable))
    (tools / name).chmod(0o755)
  more = {"TASKS": tmp_path / "tasks", "SCONTROL_LOG": tmp_path / "log", "SLURM_SUBMIT_DIR": ROOT, "SLURM_JOB_ID": 77}
  where = {"PATH": f"{tools}:{os.environ['PATH']}", "SSLX_EXTRAS": "", "SSLX_VENV": sys.prefix}
  return {**environment(), **{name: str(value) for name, value in more.items()}, **where}


@pytest.mark.skipif(not (Path(sys.prefix) / ".sslx-stamp").exists(), reason="launch.sh would install")
def test_a_job_of_slurm_saves_before_its_limit_and_is_requeued(toy_npz, tmp_path, cluster):
  out, log = tmp_path / "runs", tmp_path / "log"
  arguments = ["pretrain", *command(toy_npz, out, "--save_seconds=0")[2:]]
  job = subprocess.Popen(["bash", "launchers/slurm.sh", *arguments], cwd=ROOT, env=cluster)
  wait_for_checkpoint(out, [job])
  for pid in map(int, (tmp_path / "tasks").read_text().split()):  # as --signal=TERM@120 does
    os.kill(pid, signal.SIGTERM)
  job.send_signal(signal.SIGTERM)  # as a preemption does
  assert job.wait(60) == 130
  assert log.read_text() == "requeue 77\n"
  assert rows(out) == [] or rows(out)[-1]["step"] < STEPS
  again = subprocess.run(["bash", "launchers/slurm.sh", *arguments], cwd=ROOT, env=cluster, timeout=120)
  assert again.returncode == 0
  assert log.read_text() == "requeue 77\n"
  assert rows(out)[-1]["step"] == STEPS


def test_pods_find_one_another():
  service, job = yaml.safe_load_all((ROOT / "launchers/kubernetes.yaml").read_text())
  (container,) = job["spec"]["template"]["spec"]["containers"]
  names = {each["name"]: each.get("value") for each in container["env"]}
  assert {"JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"} == set(names)
  assert int(names["JAX_NUM_PROCESSES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
  host = names["JAX_COORDINATOR_ADDRESS"].partition(":")[0]
  assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
  assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
  assert service["spec"]["selector"]["job-name"] == job["metadata"]["name"]
  grace = job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
  assert grace > processes.HEARTBEAT


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "launchers").glob("*.sh")))
def test_scripts_are_sound(script, tmp_path):
  """They parse, say what is missing, and hand a command on as it was given."""
  path = ROOT / "launchers" / script
  assert subprocess.run(["bash", "-n", path]).returncode == 0
  if script == "slurm.sh":
    return
  for name in ("gcloud", "xpk"):
    (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> "$SEEN"\n')
    (tmp_path / name).chmod(0o755)
  needed = {"TPU": "slice", "ZONE": "zone", "CLUSTER": "cluster", "TYPE": "v5litepod-16", "IMAGE": "image"}
  seen = tmp_path / "seen"
  given = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SEEN": str(seen), **needed}
  missing = {name: value for name, value in given.items() if name not in needed}
  told = subprocess.run(["bash", path, "low_label"], env=missing, capture_output=True, text=True)
  assert told.returncode != 0
  assert re.search(r"(TPU|CLUSTER)=", told.stderr)
  if shutil.which("git") is None or not (ROOT / ".git").exists():
    pytest.skip("git archive needs a checkout")
  subprocess.run(["bash", path, "low_label", "--dataset=folder:my photos"], env=given, check=True)
  assert r"low_label --dataset=folder:my\ photos" in seen.read_text()
  assert "SSLX_DISTRIBUTED=1" in seen.read_text()
