#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, in a folder of its own, without touching one that is installed:
#
#   tests/slurm/throwaway.sh start FOLDER     prints what to export; root only, as slurmd needs it
#   tests/slurm/throwaway.sh stop FOLDER
#
# Needs munged, slurmctld and slurmd (Debian, Ubuntu: apt-get install slurm-wlm munge). Installs nothing by itself.
set -euo pipefail

ACTION=${1:?start or stop}
FOLDER=$(realpath -m "${2:?a folder}")
# Ports of their own, so that an installed Slurm is left alone.
CONTROLLER_PORT=${SLURM_TEST_PORT:-26817}

start() {
    for program in munged slurmctld slurmd; do
        command -v "$program" > /dev/null || { echo "$program is not installed: apt-get install slurm-wlm munge" >&2; exit 3; }
    done
    mkdir -p "$FOLDER"/{bin,state,munge,spool.n1,spool.n2}
    chmod 700 "$FOLDER/munge"
    head -c 1024 /dev/urandom > "$FOLDER/munge/key"
    chmod 400 "$FOLDER/munge/key"
    munged --force --key-file="$FOLDER/munge/key" --socket="$FOLDER/munge/socket" --pid-file="$FOLDER/munge/pid" \
        --log-file="$FOLDER/munge/log" --seed-file="$FOLDER/munge/seed"
    local host memory cores
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cores=$(nproc)
    cat > "$FOLDER/slurm.conf" << CONF
ClusterName=throwaway
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge/socket
CredType=cred/munge
SlurmctldPort=$CONTROLLER_PORT
StateSaveLocation=$FOLDER/state
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdPidFile=$FOLDER/slurmd.%n.pid
SlurmdLogFile=$FOLDER/slurmd.%n.log
SlurmdSpoolDir=$FOLDER/spool.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((CONTROLLER_PORT + 1)) CPUs=$cores RealMemory=$memory
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((CONTROLLER_PORT + 2)) CPUs=$cores RealMemory=$memory
PartitionName=batch Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
    # Snakemake's executor takes SLURM_CONF out of the environment of jobs, but leaves PATH.
    local program
    for program in sbatch srun squeue scancel sinfo scontrol sacct; do
        printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$FOLDER/slurm.conf" "$(command -v "$program")" \
            > "$FOLDER/bin/$program"
        chmod +x "$FOLDER/bin/$program"
    done
    PATH="$FOLDER/bin:$PATH"
    slurmctld -f "$FOLDER/slurm.conf"
    slurmd -f "$FOLDER/slurm.conf" -N n1
    slurmd -f "$FOLDER/slurm.conf" -N n2
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --Node --states=idle --format=%N 2> /dev/null | sort -u | wc -l)" = 2 ] && break
        sleep 1
    done
    sinfo >&2
    echo "export PATH=$FOLDER/bin:\$PATH"
}

stop() {
    local pids=() file pid
    for file in "$FOLDER"/slurmd.n1.pid "$FOLDER"/slurmd.n2.pid "$FOLDER"/slurmctld.pid "$FOLDER"/munge/pid; do
        [ -f "$file" ] && pids+=("$(cat "$file")")
    done
    for pid in "${pids[@]}"; do
        kill "$pid" 2> /dev/null || true
    done
    # They write their state at the end; whoever deletes the folder afterwards must not meet them.
    for pid in "${pids[@]}"; do
        for _ in $(seq 100); do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.2
        done
    done
}

case $ACTION in
    start) start ;;
    stop) stop ;;
    *) echo "start or stop, not $ACTION" >&2; exit 2 ;;
esac
