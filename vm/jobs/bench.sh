#!/bin/sh
# The guest's part of `cargo xtask bench`: makes a file and measures. Leaves NAME.json for each `dmabufio bench` in
# $DMABUFIO_OUT, and what the machine is in uname, cpu and memory.
#
# bench.sh quick|full free|limited
#   quick    less data, fewer sizes, neither a warm cache nor pressure
#   limited  the disk is: only what depends on that
set -eu
size=$1 disk=$2
file=$DMABUFIO_TEST_DIR/bench.bin
case $size in
quick) mib=1024 part=256 some=128M several=512M quick=--quick ;;
full) mib=4096 part=1024 some=1G several=1G quick= ;;
esac

# bench NAME ARGUMENTS...: a row that could not run is in the JSON; anything else ends the job. $user starts it.
user=
bench() {
    name=$1
    shift
    echo "--- $name $(cut -d. -f1 /proc/uptime) s"
    $user dmabufio bench "$file" --json "$@" >"$DMABUFIO_OUT/$name.json" || grep -q '"tables"' "$DMABUFIO_OUT/$name.json" || {
        cat "$DMABUFIO_OUT/$name.json" >&2
        exit 1
    }
}

# Programs and their libraries in memory: over 9p a start takes longer than what is started.
programs=/run/dmabufio/programs
mkdir -p "$programs"
for program in fio dmabufio dmabufio-service; do
    path=$(command -v "$program")
    ldd "$path" | grep -o '/[^ ]*' | xargs cp -t "$programs" "$path"
done
export PATH="$programs:$PATH" LD_LIBRARY_PATH="$programs"

# For the row with huge pages, 2 MiB each, while memory is in one piece.
[ "$disk" = limited ] || echo "$((part / 2))" >/proc/sys/vm/nr_hugepages

echo "--- making a file of $mib MiB"
# Past the page cache, and different everywhere.
fio --name=fill --filename="$file" --rw=write --direct=1 --bs=4M --size="${mib}M" --refill_buffers \
    --output="$DMABUFIO_OUT/fill.log"
sync "$file"
uname -r >"$DMABUFIO_OUT/uname"
sed -n 's/^model name[^:]*: //p' /proc/cpuinfo >"$DMABUFIO_OUT/cpu"
sed -n 's/^MemTotal: *//p' /proc/meminfo >"$DMABUFIO_OUT/memory"

if [ "$disk" = limited ]; then
    bench published --size "${part}M" --table published
    bench ours --size "$several" --table ours
    # Of 1 GiB at least: opening a model or a stream is paid once.
    bench model --size 1G --table model
    bench stream --table stream
    exit
fi
bench service --size 1G --table service
bench published --size "${part}M" --table published
bench fair --size "$some" --table fair
echo 0 >/proc/sys/vm/nr_hugepages
bench ours --size "$several" --table ours
# What binder adds to one request is less than two runs differ.
bench whole --size 1G --table whole --runs 25
# A service of its own with buffers kept ready.
socket=/run/dmabufio/pool.sock
dmabufio-service --heap system --pool 32M:32 --socket "$socket" 2>"$DMABUFIO_OUT/pool.log" &
pool=$!
while [ ! -S "$socket" ]; do
    kill -0 "$pool"
    sleep 0.1
done
bench pool --socket "$socket" --size "$several" --table ours
kill "$pool"
wait "$pool"
bench blocks --size "$several" --table blocks
bench sizes --table sizes $quick
bench growth --size "$some" --table extents,clients
bench uses --size "${part}M" --table model,stream
bench snapshot --size 1M --table snapshot
if [ "$size" = full ]; then
    bench warm --size "${part}M" --table published --cache warm
    bench pressure --size 256M --table pressure
fi
# Last: it takes the service's name, which only the service's own user may.
user=$DMABUFIO_UNPRIVILEGED
bench start --size 1M --table start
