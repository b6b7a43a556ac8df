#!/bin/sh
# Runs the tests in the VM: tests.sh FOLDER TESTS SELFTEST... FOLDER holds what `cargo xtask test` made: the kernel's selftests,
# and the lists of the test programs, of which nextest runs those that the filter TESTS names. Leaves in $DMABUFIO_OUT junit.xml
# and nextest.status, and for each SELFTEST its log and exit status.
set -u
folder=$1 tests=$2
shift 2
cargo-nextest nextest run --config-file vm/nextest.toml --filterset "$tests" --show-progress none \
    --cargo-metadata "$folder/metadata.json" --binaries-metadata "$folder/binaries.json" </dev/null
failed=$?
echo $failed >"$DMABUFIO_OUT/nextest.status"
cp /run/dmabufio/nextest/default/junit.xml "$DMABUFIO_OUT"

# The selftests use the folder that they are started in.
cd "$DMABUFIO_TEST_DIR" || exit 1
for selftest in "$@"; do
    log=$DMABUFIO_OUT/$selftest.log
    timeout -k 10 1200 "$folder/selftests/$selftest" </dev/null >"$log" 2>&1
    status=$?
    echo $status >"$DMABUFIO_OUT/$selftest.status"
    if [ $status -eq 0 ]; then
        grep -a -e '^# Totals' -e '# SKIP' "$log"
    else
        failed=1
        echo "the kernel's selftest $selftest ended with status $status; its output:"
        cat "$log"
    fi
done
[ $failed -eq 0 ]
