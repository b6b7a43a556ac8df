#!/bin/sh
# The guest's part of `cargo xtask bench`: makes a file and measures. Leaves NAME.json for each `dmabufio bench` in
# $DMABUFIO_OUT, and what the machine is in uname, cpu and memory.
#
# bench.sh quick|full free|limited
#   quick    less data, fewer sizes, and only the tables that a target needs
#   limited  the disk is: only what depends on that
set -eu
size=$1 disk=$2
file=$DMABUFIO_TEST_DIR/bench.bin seed=$DMABUFIO_TEST_DIR/seed
case $size in
quick) mib=1024 part=256 quick=--quick ;;
full) mib=4096 part=1024 quick= ;;
esac

# bench NAME ARGUMENTS...: a row that could not run is in the JSON; anything else ends the job.
bench() {
    name=$1
    shift
    echo "--- $name $(cut -d. -f1 /proc/uptime) s"
    dmabufio bench "$file" --json "$@" >"$DMABUFIO_OUT/$name.json" || grep -q '"tables"' "$DMABUFIO_OUT/$name.json" || {
        cat "$DMABUFIO_OUT/$name.json" >&2
        exit 1
    }
}

# fio and its many libraries in memory: over 9p every start would take seconds.
fio=/run/dmabufio/fio
mkdir -p "$fio/lib"
cp "$(command -v fio)" "$fio/lib"
ldd "$fio/lib/fio" | grep -o '/[^ ]*' | xargs cp -t "$fio/lib"
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$fio/lib" "$fio/lib/fio" >"$fio/fio"
chmod +x "$fio/fio"
PATH=$fio:$PATH

# For the row with huge pages, 2 MiB each, while memory is in one piece.
echo "$((part / 2))" >/proc/sys/vm/nr_hugepages

echo "--- making a file of $mib MiB"
# Random bytes whose period is no multiple of a page, so that data from a wrong offset differs.
head -c 16000001 /dev/urandom >"$seed"
# head ends first; then cat cannot write.
while cat "$seed" 2>/dev/null; do :; done | head -c "$((mib << 20))" >"$file"
rm "$seed"
sync "$file"
uname -r >"$DMABUFIO_OUT/uname"
sed -n 's/^model name[^:]*: //p' /proc/cpuinfo >"$DMABUFIO_OUT/cpu"
sed -n 's/^MemTotal: *//p' /proc/meminfo >"$DMABUFIO_OUT/memory"

if [ "$disk" = limited ]; then
    bench published --size "${part}M" --table published
    bench ours --size 1G --table ours
    exit
fi
bench service --size 1G --table service
bench published --size "${part}M" --table published
bench fair --size "${part}M" --table fair
echo 0 >/proc/sys/vm/nr_hugepages
bench ours --size 1G --table ours,whole
bench blocks --size 1G --table blocks
bench sizes --table sizes $quick
if [ "$size" = full ]; then
    bench warm --size "${part}M" --table published --cache warm
    bench growth --size "${part}M" --table extents,clients
    bench pressure --size 256M --table pressure
fi
# Last: it takes the service's name.
bench start --size 1M --table start
