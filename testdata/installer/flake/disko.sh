#!/bin/sh
# Plays disko's script on the server: wipes the disk and mounts it at /mnt.
set -eu
# shellcheck source=/dev/null
[ ! -e /knobs/disko ] || . /knobs/disko
! mountpoint -q /nix || umount -l /nix # this script may be in it
! mountpoint -q /mnt || umount -R /mnt
find /disk -mindepth 1 -delete
mkdir -p /mnt
mount --bind /disk /mnt
# Without a sandbox, which the container has not, a build for the store of /mnt
# would not find that store's files at their names.
mkdir -p /mnt/nix /nix
mount --bind /mnt/nix /nix
