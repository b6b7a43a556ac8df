#!/bin/sh
# The VM's side of `cargo xtask vm`: mounts, starts the service manager and the service, runs the command, stops both.
#
# Called as root in the booted VM with one argument, the run's folder, which it shares with the host:
#   plan            read: the DMABUFIO_* variables of this run
#   command         read: the command, as a shell script
#   stage           written: how far the run has come, for the host's error messages
#   reason          written: why the command could not be started
#   status          written: the exit status of the command
#   service-status  written: the exit status of the service after SIGTERM
#   *.log           written: the output of the service manager and of the service
#   selinux-*       read: the policy, and the label of the service
set -u
run=$1
shift
cd "$(dirname "$0")/.." || exit 69
. "$run/plan"
state=/run/dmabufio
hub_pid= service_pid=
hub=rsb_hub service=$state/bin/dmabufio-service shell=sh log=$run
# Who the service is on a phone, by its init script: nobody, in the group system, without capabilities. For tests, too.
export DMABUFIO_UNPRIVILEGED="setpriv --reuid=65534 --regid=65534 --groups=1000 --inh-caps=-all --bounding-set=-all"

stage() { echo "$*" >"$run/stage"; }

give_up() {
    echo "$*" >"$run/reason"
    stop
    exit 69
}

# wait_for SECONDS PID COMMAND...: until COMMAND succeeds; fails when PID ends or the time is over.
wait_for() {
    tries=$(($1 * 5)) pid=$2
    shift 2
    while [ "$tries" -gt 0 ]; do
        "$@" >/dev/null 2>&1 && return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.2
        tries=$((tries - 1))
    done
    return 1
}

# end PID SECONDS: asks it to end, then makes it; sets $ended to its exit status.
end() {
    kill -TERM "$1" 2>/dev/null
    (sleep "$2" && kill -KILL "$1") 2>/dev/null &
    killer=$!
    wait "$1"
    ended=$?
    kill "$killer" 2>/dev/null
}

stop() {
    if [ -n "$service_pid" ]; then
        end "$service_pid" 20
        echo "$ended" >"$run/service-status"
    fi
    [ -n "$hub_pid" ] && end "$hub_pid" 5
    cd /
    if [ "$DMABUFIO_SELINUX" = 1 ]; then
        # virtme-ng's own init switches off; it knows no policy.
        echo 0 >/sys/fs/selinux/enforce
        [ "$DMABUFIO_SERVICE" = 0 ] || cp "$log"/*.log "$run"
    fi
    umount "$DMABUFIO_TEST_DIR" 2>"$run/umount.log" || umount -l "$DMABUFIO_TEST_DIR"
    sync
}

# Linux 6.1 has a driver for UFS on PCI, and does not know that this device of QEMU is one.
if [ "$DMABUFIO_DISK" = ufs ] && [ ! -b "$DMABUFIO_DEVICE" ]; then
    stage "waiting for the UFS disk"
    echo 1b36 0013 >/sys/bus/pci/drivers/ufshcd/new_id
    wait_for 60 $$ test -b "$DMABUFIO_DEVICE" || give_up "the kernel did not find the UFS disk"
fi

# QEMU 10.0 writes to the completion queue (33 entries) without looking for room. Linux gives room back only after it has seen
# all that was there, and meanwhile as many again may complete: 15 at a time always fit.
[ "$DMABUFIO_DISK" != ufs ] || echo 15 >"/sys/class/block/${DMABUFIO_DEVICE#/dev/}/device/queue_depth"

# The modules of a run are those that it loads itself: the kernel asks nobody for others.
echo >/proc/sys/kernel/modprobe

if [ "$DMABUFIO_SELINUX" = 1 ]; then
    . vm/selinux.sh
    if [ "$(tr -d '\0' </proc/self/attr/current)" = kernel ]; then
        stage "loading the SELinux policy"
        enter_init || give_up "the SELinux policy could not be loaded; see the console log"
    fi
fi

if [ -n "$DMABUFIO_MODULE" ]; then
    stage "loading the module"
    insmod "$DMABUFIO_MODULE" 2>"$run/insmod.log" || give_up "$(cat "$run/insmod.log")"
fi

stage "mounting the file systems of vm/mounts"
mkdir -p "$state"
while read -r what type where options; do
    case $what in '' | '#'*) continue ;; esac
    [ "$what" = @disk ] && what=$DMABUFIO_DEVICE
    [ "$type" = @fs ] && type=$DMABUFIO_FS
    mkdir -p "$where"
    mount -t "$type" -o "$options" "$what" "$where" 2>"$run/mount.log" ||
        give_up "mounting $what ($type) on $where: $(cat "$run/mount.log")"
done <vm/mounts

# As on a phone: every process may open these, policy decides who may use them.
chmod 0666 /dev/binderfs/binder
for node in /dev/dma_heap/system /dev/dma_heap/system-direct /dev/udmabuf; do
    [ ! -e "$node" ] || chmod 0444 "$node"
done
chown 1000:1000 /proc/pressure/memory && chmod 0664 /proc/pressure/memory

mkdir -p "$state/bin"
if [ "$DMABUFIO_SERVICE" = 1 ]; then
    # Where nobody can start it from, which the source tree need not be.
    cp "$(command -v dmabufio-service)" "$service" || give_up "dmabufio-service could not be copied"
fi

if [ "$DMABUFIO_SELINUX" = 1 ]; then
    stage "labelling files and enforcing the SELinux policy"
    enforce || give_up "labelling failed"
fi

if [ "$DMABUFIO_SERVICE" = 1 ]; then
    stage "starting the service manager rsb_hub"
    # It takes a policy only from a place that root alone can write to, which the source tree need not be.
    install -d -m 0755 "$state/hub.d"
    install -m 0644 vm/hub.toml "$state/hub.d/dmabufio.toml"
    "$hub" --config "$state/hub.d" >"$log/hub.log" 2>&1 &
    hub_pid=$!
    wait_for 60 "$hub_pid" rsb_service list || give_up "the service manager rsb_hub did not come up: $(tail -n 5 "$log/hub.log")"

    [ "$DMABUFIO_CHOOSES_HEAP" = 1 ] || set -- --heap "$DMABUFIO_HEAP"
    stage "starting dmabufio-service $*"
    # As its init script says.
    RUST_LOG=${RUST_LOG:-info} choom --adjust=-1000 -- $DMABUFIO_UNPRIVILEGED "$service" "$@" >"$log/service.log" 2>&1 &
    service_pid=$!
    wait_for 60 "$service_pid" rsb_service check vendor.dmabufio.IDmabufIo/default ||
        give_up "dmabufio-service did not register: $(tail -n 20 "$log/service.log")"
    export DMABUFIO_SERVICE_PID=$service_pid
fi

stage "running the command"
"$shell" "$run/command"
echo $? >"$run/status"

stage "stopping the service"
stop
stage "done"
