#!/bin/sh
# Runs the tests in the VM: tests.sh FOLDER TESTS ARGUMENT. FOLDER holds what `cargo xtask test` made: the kernel's selftest,
# which gets ARGUMENT, and the lists of the test programs, of which nextest runs those that the filter TESTS names. Leaves in
# $DMABUFIO_OUT junit.xml, selftest.log, and the exit status of both.
set -u
folder=$1 tests=$2 argument=$3
cargo-nextest nextest run --config-file vm/nextest.toml --filterset "$tests" --show-progress none \
    --cargo-metadata "$folder/metadata.json" --binaries-metadata "$folder/binaries.json" </dev/null
nextest=$?
echo $nextest >"$DMABUFIO_OUT/nextest.status"
cp /run/dmabufio/nextest/default/junit.xml "$DMABUFIO_OUT"

timeout -k 10 1200 "$folder/rw_file" "$argument" </dev/null >"$DMABUFIO_OUT/selftest.log" 2>&1
selftest=$?
echo $selftest >"$DMABUFIO_OUT/selftest.status"
if [ $selftest -eq 0 ]; then
    grep -a -e '^# Totals' -e '# SKIP' "$DMABUFIO_OUT/selftest.log"
else
    echo "the kernel's selftest ended with status $selftest; its output:"
    cat "$DMABUFIO_OUT/selftest.log"
fi
[ $nextest -eq 0 ] && [ $selftest -eq 0 ]
