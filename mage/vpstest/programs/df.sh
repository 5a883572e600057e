#!/bin/sh
# Plays df -Pk PATH... where the test has set how much space is free; the real one
# answers for all other paths.
if [ ! -s @CONTROL@/free ] || [ "${1-}" != -Pk ]; then
    exec @DF@ "$@"
fi
shift
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
for path in "$@"; do
    found=
    while read -r kilobytes prefix; do
        case $path/ in
        "$prefix"/*)
            found=$kilobytes
            break
            ;;
        esac
    done <@CONTROL@/free
    if [ -n "$found" ]; then
        echo "/dev/vda1 $((found * 2)) $found $found 50% /"
    else
        @DF@ -Pk "$path" | tail -n 1
    fi
done
