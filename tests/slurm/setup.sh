#!/usr/bin/env bash
# A SLURM of one machine from Debian's packages, for tests. Needs root (the daemons and mknod do), no systemd.
#
#   tests/slurm/setup.sh start  FOLDER   install what is missing, write the configuration, start the daemons
#   tests/slurm/setup.sh status FOLDER   exit 0 if the node takes jobs, 1 if not
#   tests/slurm/setup.sh stop   FOLDER   cancel all jobs, stop the daemons
#
# `start` twice starts nothing twice. Configuration, state and logs all live in FOLDER. The one trace outside
# is the link /etc/slurm/slurm.conf, which `stop` removes: SLURM_CONF would do for squeue and sbatch, but
# snakemake's plugin takes all SLURM_* variables away from the srun inside a job.
# The machine is two nodes, called by its name and localhost, as training processes look their peers up by them.
# Each claims more CPUs and memory than there are, so that the requests of the real workflow fit,
# and two GPUs of the type `fast`, which are mere character devices: SLURM counts them and sets
# CUDA_VISIBLE_DEVICES, nothing can compute on them.
# Partition `main`, the default one, is the first node; a job in `urgent` preempts (requeues) those in `main`.
# Partition `pair` is both nodes.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # where Debian puts the daemons; not in everybody's PATH

readonly CPUS=8 MEMORY_MB=64000 GPUS=2
readonly LINK=/etc/slurm/slurm.conf # where Debian's SLURM looks
unset SLURM_CONF
HOST=$(hostname -s)
readonly HOST

fail() {
    echo "slurm setup: $*" >&2
    exit 1
}

usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

install_packages() {
    local missing=()
    command -v munged >/dev/null || missing+=(munge)
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null || missing+=(slurm-wlm)
    [ "${#missing[@]}" -eq 0 ] && return
    command -v apt-get >/dev/null || fail "needs the packages ${missing[*]}, and there is no apt-get to install them"
    echo "slurm setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >"$folder/log/apt.log" 2>&1 \
        || fail "cannot install ${missing[*]}; the end of $folder/log/apt.log: $(tail -n 3 "$folder/log/apt.log")"
}

free_port() { # free_port FROM: the first port from FROM on that nothing listens on
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

write_configuration() {
    local ctld_port slurmd_port second_port gpu
    ctld_port=$(free_port 26817)
    slurmd_port=$(free_port $((ctld_port + 1)))
    second_port=$(free_port $((slurmd_port + 1)))

    if [ ! -s "$folder/etc/munge.key" ]; then
        (umask 077 && head -c 1024 /dev/urandom >"$folder/etc/munge.key")
    fi
    for gpu in $(seq 0 $((GPUS - 1))); do # the same numbers as /dev/null
        [ -c "$folder/dev/gpu$gpu" ] || mknod "$folder/dev/gpu$gpu" c 1 3 \
            || fail "mknod $folder/dev/gpu$gpu failed: the container lacks CAP_MKNOD, or the file system refuses devices"
    done

    cat >"$folder/etc/slurm.conf" <<CONF
ClusterName=rebalance
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
DefMemPerCPU=500
# The tests look at jobs that ended a while ago.
MinJobAge=3600
# The GPUs that each task of each job was given, one line each in log/tasks.
TaskProlog=$folder/etc/task_prolog
NodeName=DEFAULT CPUs=$CPUS RealMemory=$MEMORY_MB Gres=gpu:fast:$GPUS State=UNKNOWN
NodeName=$HOST NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$slurmd_port
NodeName=localhost NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$second_port
PartitionName=main Nodes=$HOST Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$HOST MaxTime=INFINITE State=UP PriorityTier=2
PartitionName=pair Nodes=$HOST,localhost MaxTime=INFINITE State=UP PriorityTier=1
CONF
    cat >"$folder/etc/gres.conf" <<CONF
AutoDetect=off
NodeName=$HOST,localhost Name=gpu Type=fast File=$folder/dev/gpu[0-$((GPUS - 1))]
CONF
    cat >"$folder/etc/task_prolog" <<CONF
#!/bin/sh
echo "\$SLURM_JOB_ID \${CUDA_VISIBLE_DEVICES:-none}" >>"$folder/log/tasks"
CONF
    chmod +x "$folder/etc/task_prolog"
    : >"$folder/log/tasks"
    mkdir -p "${LINK%/*}"
    ln -sfn "$folder/etc/slurm.conf" "$LINK"
}

linked() { # this folder's configuration is the machine's
    [ "$(readlink "$LINK")" = "$folder/etc/slurm.conf" ]
}

running() { # running NAME[.NODE]: the daemon of that name that this folder's pid file names is alive
    local pid
    pid=$(cat "$folder/run/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${1%%.*}" ]
}

start_daemon() { # start_daemon NAME ARGUMENT...: returns once the daemon is in the background
    "$@" >"$folder/log/$1.start" 2>&1 || fail "$1 did not start: $(cat "$folder/log/$1.start")"
}

stop_daemons() {
    local name pid
    for name in "slurmd.$HOST" slurmd.localhost slurmctld munged; do
        running "$name" || continue
        pid=$(cat "$folder/run/$name.pid")
        kill "$pid"
        for _ in $(seq 40); do
            running "$name" || break
            sleep 0.25
        done
        running "$name" && fail "$name (process $pid) does not end"
        echo "slurm setup: stopped $name"
    done
}

say_ready() {
    echo "slurm setup: nodes $HOST and localhost take jobs"
}

takes_jobs() {
    linked && running munged && running slurmctld && running "slurmd.$HOST" && running slurmd.localhost \
        && [[ "$(sinfo --noheader --format=%T --partition=pair 2>/dev/null | sort | tr '\n' " ")" =~ ^((idle|mixed|allocated) )+$ ]]
}

start() {
    [ "$(id -u)" -eq 0 ] || fail "must run as root (mknod and the daemons need it), not as $(id -un)"
    folder=$(realpath --canonicalize-missing "$1")
    [ "${#folder}" -le 80 ] || fail "the path of a munge socket is limited to 107 bytes, so FOLDER to 80, got $folder"
    if takes_jobs; then say_ready && return; fi
    if [ -e "$LINK" ] && ! linked; then
        fail "$LINK exists ($(readlink -f "$LINK")): this machine has another SLURM, which stays untouched"
    fi
    mkdir -p "$folder"/{etc,dev,run,log,state} "$folder/spool"/{"$HOST",localhost}
    chmod 755 "$folder" "$folder/run" # munged refuses a socket in a folder that others may write to
    chmod 700 "$folder/etc"
    stop_daemons # a survivor keeps the configuration that it has read
    install_packages
    write_configuration

    start_daemon munged --force --num-threads=2 --key-file="$folder/etc/munge.key" \
        --socket="$folder/run/munge.socket" --pid-file="$folder/run/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/state/munged.seed"
    start_daemon slurmctld -c -f "$folder/etc/slurm.conf" # -c: forgets the jobs of an earlier start
    start_daemon slurmd -N "$HOST" -f "$folder/etc/slurm.conf"
    start_daemon slurmd -N localhost -f "$folder/etc/slurm.conf"
    for _ in $(seq 60); do
        if takes_jobs; then say_ready && return; fi
        sleep 0.5
    done
    tail -n 5 "$folder"/log/{munged,slurmctld,slurmd.*}.log >&2 || true
    fail "the nodes take no jobs after 30 s (the logs are in $folder/log); sinfo says: $(sinfo --noheader --format='%T %E' 2>&1 || true)"
}

open_folder() {
    [ -f "$1/etc/slurm.conf" ] || { echo "slurm setup: nothing was started in $1"; return 1; }
    folder=$(realpath "$1")
}

stop() {
    open_folder "$1" || return 0
    if takes_jobs; then
        scancel --user=root || true
        for _ in $(seq 80); do
            [ -z "$(squeue --noheader)" ] && break
            sleep 0.5
        done
    fi
    stop_daemons
    if linked; then rm "$LINK"; fi
}

status() {
    open_folder "$1"
    if takes_jobs; then sinfo --format='%P %a %C %G %T'; else echo "slurm setup: the nodes take no jobs"; return 1; fi
}

[ "$#" -eq 2 ] || usage
case $1 in
    start | stop | status) "$1" "$2" ;;
    *) usage ;;
esac
