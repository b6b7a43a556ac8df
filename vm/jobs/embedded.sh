#!/bin/sh
# The demo on this host, in FOLDER: embedded.sh FOLDER. Starts the service with the embedded heap, runs run.sh, stops it.
set -u
folder=$1
export DMABUFIO_SOCKET="$folder/service.sock" DMABUFIO_TEST_DIR="$folder" DMABUFIO_OUT="$folder"

give_up() {
    echo "$1; the service's log:"
    tail -n 25 "$folder/service.log"
    kill "$service"
    exit 1
} >&2

setpriv --pdeathsig KILL -- dmabufio-service --heap memfd --socket "$DMABUFIO_SOCKET" >"$folder/service.log" 2>&1 &
service=$!
tries=200
until [ -e "$DMABUFIO_SOCKET" ]; do
    kill -0 "$service" || give_up "dmabufio-service ended instead of serving"
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || give_up "dmabufio-service opened no socket in 20 s"
    sleep 0.1
done
sh vm/jobs/run.sh || give_up "the demo ended with status $?"
kill -TERM "$service"
timeout 20 tail --pid="$service" -f /dev/null || give_up "the service did not end on SIGTERM"
wait "$service" || give_up "the service ended with status $? on SIGTERM"
