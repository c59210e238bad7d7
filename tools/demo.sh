#!/bin/sh
# The main job, on this machine: five seconds of live system-call statistics, then a histogram.
set -eu
cd "$(dirname "$0")/.."

# Something for the statistics to show, ended below whatever happens.
(while :; do ls /usr/bin >/dev/null; sleep 0.05; done) &
load=$!
trap 'kill $load 2>/dev/null' EXIT
.venv/bin/stap -T 5.5 examples/syscall_latency.stp
