#!/bin/sh
# Plays setpriv: there are no other users here, so only the command is left.
while [ $# -gt 0 ]; do
    case $1 in
    --)
        shift
        break
        ;;
    -*) shift ;;
    *) break ;;
    esac
done
exec "$@"
