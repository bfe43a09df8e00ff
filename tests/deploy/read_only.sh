#!/bin/bash
# Runs a command as a container with a read-only root file system does, in a mount namespace of its own:
#   read_only.sh CACHE TMP COMMAND...
set -euo pipefail
cache=$1 tmp=$2
shift 2
while read -r _ _ _ _ place options _; do
    case $place in
    /proc* | /sys* | /dev*) ;;
    *)
        kept=$(tr ',' '\n' <<<"$options" | grep -E '^(nosuid|nodev|noexec)$' | paste -sd, || true)
        mount -o "remount,bind,ro${kept:+,$kept}" "$(printf '%b' "$place")"
        ;;
    esac
done </proc/self/mountinfo
mount -t tmpfs tmpfs "$cache"
mount -t tmpfs tmpfs "$tmp"
cd "$PWD" # again, now read-only
exec "$@"
