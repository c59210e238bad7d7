#!/bin/sh
# The tracers that the benchmarks compare with, from Debian; SystemTap only when it is asked for.
set -eu
need=""
command -v bpftrace >/dev/null || need="bpftrace"
command -v gcc >/dev/null || need="$need gcc libc6-dev"
[ "${1-}" != systemtap ] || [ -x /usr/bin/stap ] || need="$need systemtap"
[ -z "$need" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
