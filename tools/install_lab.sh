#!/bin/sh
# What the lab needs to run kernels, from Debian.
set -eu
need=""
PATH=$PATH:/usr/sbin:/sbin
command -v qemu-system-x86_64 >/dev/null || need="$need qemu-system-x86"
dpkg -s busybox-static >/dev/null 2>&1 || need="$need busybox-static"
command -v zstd >/dev/null || need="$need zstd"
command -v depmod >/dev/null || need="$need kmod"
command -v pahole >/dev/null || need="$need dwarves" # for modules of kernels like 6.12
command -v setpriv >/dev/null || need="$need util-linux"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || need="$need debian-archive-keyring"
[ -z "$need" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
