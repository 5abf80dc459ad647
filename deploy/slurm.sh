#!/bin/bash
# A sweep on the nodes of a SLURM job, and its report. Submit from the project's folder, on a shared file system:
#
#   sbatch --export=ALL,DATA=/shared/data,RESULTS=/shared/results deploy/slurm.sh
#
# What follows the script's name is given to the sweep: deploy/slurm.sh --compile --searches 3
# With PACKED=/shared/packed, a copy by data pack, in place of DATA each node reads images from a disk of its own.
# Timed out or preempted it is queued again by itself; stopped: submit the same again. Only what is missing runs.
# docs/cluster.md says more.
#SBATCH --job-name=carft
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=carft-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
set -euo pipefail

RECIPE=${RECIPE:-downstream}
RESULTS=${RESULTS:-results}
CACHE=${CACHE:-${TMPDIR:-/tmp}/carft-$(id -u)} # of features: on a disk of the node, not in a home that has a quota
GPUS=${SLURM_GPUS_ON_NODE:-0}
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(head -n 1 <<<"$nodes")
# this node's address for others: its name may lead to its loopback interface here
ip=$(getent ahostsv4 "$head" | awk '$1 !~ /^127\./ {print $1; exit}' || true)
ip=${ip:-$(hostname -I | awk '{print $1}')}
address="$ip:$((20000 + SLURM_JOB_ID % 10000))" # of the job, so that two jobs of yours may share a node
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID # short: a path of a socket has at most 107 bytes

# Ray runs what its clients send: a fresh token, known to the processes of this job alone, guards its ports
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

if [ -n "${PACKED:-}" ]; then
    if [ -n "${DATA:-}" ]; then
        echo "Give PACKED or DATA, not both: the copy of PACKED replaces its folder." >&2
        exit 2
    fi
    DATA=${DISK:-${TMPDIR:-/tmp}}/carft-data-$(id -u)
    export PACKED DATA # a copy that was cut short has another name, and one of another size is made again
    srun --nodes "$SLURM_JOB_NUM_NODES" --ntasks "$SLURM_JOB_NUM_NODES" --ntasks-per-node 1 \
        --cpus-per-task "$SLURM_CPUS_PER_TASK" bash -euc '
            sizes() { (cd "$1" && find . -path ./carft-index -prune -o -type f -printf "%s %p\n" | sort); }
            copy="$DATA.job-$SLURM_JOB_ID"
            if [ ! -d "$DATA" ] || [ "$(sizes "$PACKED")" != "$(sizes "$DATA")" ]; then
                mkdir -p "$copy" && cp -a "$PACKED/." "$copy" && rm -rf "$DATA" && mv -T "$copy" "$DATA"
            fi'
fi

resources=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$GPUS" --disable-usage-stats)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$RAY_TMPDIR"' EXIT

ray start --head --block --node-ip-address "$ip" --port "${address##*:}" --dashboard-host 127.0.0.1 "${resources[@]}" >"ray-$SLURM_JOB_ID.log" 2>&1 &
started+=($!)
until ray status --address "$address" >/dev/null 2>&1; do
    kill -0 "${started[0]}" || { echo "Ray did not start; see ray-$SLURM_JOB_ID.log" >&2; exit 1; }
    sleep 2
done
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then # everything is said: srun would take the tasks of the whole job, and one core a task
    srun --nodes "$others" --ntasks "$others" --ntasks-per-node 1 --cpus-per-task "$SLURM_CPUS_PER_TASK" --exclude "$head" \
        ray start --block --address "$address" "${resources[@]}" >>"ray-$SLURM_JOB_ID.log" 2>&1 &
    started+=($!)
fi
timeout 300 python - "$address" "$SLURM_JOB_NUM_NODES" <<'PYTHON' # until every node is there
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(1)
PYTHON

sweep=(--address "$address" --gpus "$((GPUS * SLURM_JOB_NUM_NODES))" --results "$RESULTS" --feature-cache "$CACHE")
if [ -n "${DATA:-}" ]; then
    sweep+=(--data "$DATA")
fi
python cli.py sweep "$RECIPE" "${sweep[@]}" "$@" &
running=$!
again=
trap 'kill -TERM "$running"' TERM # preempted, which queues the job again, or cancelled
trap 'again=yes; kill -TERM "$running"' USR1 # five minutes are left
code=0
wait "$running" || code=$?
while kill -0 "$running" 2>/dev/null; do # a signal ended the wait, and the sweep writes its checkpoints
    code=0
    wait "$running" || code=$?
done
if [ -n "$again" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
[ "$code" -le 1 ] || exit "$code" # 1: some cells failed, and the report says which
case "$RESULTS" in *://*) report=report ;; *) report="$RESULTS/report" ;; esac  # pages are files
python cli.py report --results "$RESULTS" --out "$report"
exit "$code"
