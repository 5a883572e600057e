#!/bin/sh
# Plays sudo, doas and run0: knows how each is told not to ask, resets the environment as the real one does, and keeps
# VPS_ROOT, without which nothing here finds the server.
asks=@ASKS@
while [ $# -gt 0 ]; do
    case $1 in
    -n | --non-interactive | --no-ask-password)
        [ -z "$asks" ] || {
            echo "sudo: a password is required" >&2
            exit 1
        }
        shift
        ;;
    --)
        shift
        break
        ;;
    *) break ;;
    esac
done
[ -z "$asks" ] || {
    echo "sudo: a terminal is required to read the password" >&2
    exit 1
}
exec @ENV@ -i VPS_ROOT=@ROOT@ HOME=@ROOT@/root PATH=@PATH@ LOGNAME=root USER=root SUDO_USER=@USER@ "$@"
