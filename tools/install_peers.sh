#!/bin/sh
# The tracer that the benchmarks compare with, from Debian.
set -eu
need=""
command -v bpftrace >/dev/null || need="bpftrace"
command -v gcc >/dev/null || need="$need gcc libc6-dev"
[ -z "$need" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
