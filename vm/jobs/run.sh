#!/bin/sh
# The demo of `cargo xtask run`: a real file into a dma-buf and back, through the service. In the VM through kernel
# binder; on a host with DMABUFIO_SOCKET set, through that socket.
set -eu
mib=${DMABUFIO_DEMO_MIB:-256}
dir=$DMABUFIO_TEST_DIR
file=$dir/model.bin copy=$dir/copy.bin

step() { printf '\n== %s\n' "$*"; }

# Makes the next read come from the disk. In the VM only: a host's caches are not ours to drop.
cold() {
    sync "$dir"
    if [ -z "${DMABUFIO_SOCKET:-}" ]; then echo 3 >/proc/sys/vm/drop_caches; fi
}

dmabufio() {
    command dmabufio ${DMABUFIO_SOCKET:+--socket "$DMABUFIO_SOCKET"} "$@"
}

where="a disk of this host"
[ -z "${DMABUFIO_FS:-}" ] || where="$DMABUFIO_FS on the $DMABUFIO_DISK disk"

step "Making a file of $mib MiB of random bytes on $where"
dd if=/dev/urandom of="$file" bs=1M count="$mib" status=none conv=fsync
ls -l "$file"

step "dmabufio doctor: what there is here"
# It looks at the file system of the folder it is in.
# 1 means that it works, slowly: so it is on the stock kernel.
(cd "$dir" && dmabufio doctor) || [ $? -eq 1 ]

step "dmabufio load: file -> dma-buf, then the dma-buf read back and compared"
cold
dmabufio load "$file" --verify

step "dmabufio save: file -> dma-buf -> copy"
cold
dmabufio save "$copy" --from "$file"

step "sha256 of the file and of the copy, by another program"
cold
(cd "$dir" && sha256sum model.bin copy.bin) | tee "$DMABUFIO_OUT/sha256"
[ "$(cut -d' ' -f1 "$DMABUFIO_OUT/sha256" | sort -u | wc -l)" = 1 ] || {
    echo "the copy differs from the file" >&2
    exit 1
}
echo "equal"

rm -f "$copy"
if [ -n "${DMABUFIO_SOCKET:-}" ]; then
    step "The six rows of the published table need dma-buf heaps and the patched kernel: not in the embedded demo"
    exit 0
fi
step "dmabufio bench: the six rows of the published table"
cold
# On the stock kernel one row says that it cannot run.
dmabufio bench "$file" || [ "$DMABUFIO_KERNEL" = stock ]
