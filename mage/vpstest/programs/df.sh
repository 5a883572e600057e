#!/bin/sh
# Plays df for paths whose free space the test has set (df -Pk PATH); lets the
# real one answer for the others.
for path in "$@"; do :; done
while read -r kilobytes prefix; do
    case $path/ in
    "$prefix"/*)
        echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
        echo "/dev/vda1 $((kilobytes * 2)) $kilobytes $kilobytes 50% /"
        exit 0
        ;;
    esac
done <@CONTROL@/free
exec @DF@ "$@"
