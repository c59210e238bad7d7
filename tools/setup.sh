#!/bin/sh
# Sets up .venv with pystap and everything its tests need.  Debian packages are installed only
# where something is missing.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
need=""
"$python" -c 'import ensurepip, venv' 2>/dev/null || need="$need python3-venv"
command -v gcc >/dev/null || need="$need gcc libc6-dev"
command -v g++ >/dev/null || need="$need g++"
command -v dwz >/dev/null || need="$need dwz"
ldconfig -p | grep -q libdw.so.1 || need="$need libdw1"
if [ -n "$need" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
.venv/bin/python tools/write_launcher.py
