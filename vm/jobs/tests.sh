#!/bin/sh
# Runs test programs in the VM: those listed in $DMABUFIO_OUT/programs, one "name path arguments..." a line. Leaves NAME.log,
# NAME.status and NAME.seconds beside the list, from which `cargo xtask test` counts; fails if one of them failed.
set -u
failed=0
while read -r name path args; do
    echo "--- $name"
    start=$(date +%s)
    # The arguments are words of their own.
    # shellcheck disable=SC2086
    timeout -k 10 1200 "$path" $args </dev/null >"$DMABUFIO_OUT/$name.log" 2>&1
    status=$?
    echo $status >"$DMABUFIO_OUT/$name.status"
    echo $(($(date +%s) - start)) >"$DMABUFIO_OUT/$name.seconds"
    if [ $status -ne 0 ]; then
        failed=1
        echo "$name ended with status $status; its output:"
        cat "$DMABUFIO_OUT/$name.log"
    else
        grep -a -e '^test result:' -e '^# Totals' -e '# SKIP' "$DMABUFIO_OUT/$name.log" || echo passed
    fi
done <"$DMABUFIO_OUT/programs"
exit $failed
