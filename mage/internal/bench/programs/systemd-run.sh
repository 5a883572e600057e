#!/bin/sh
# Stands for systemd-run: a unit is a session of its own. Timers are taken and
# never run out.
for word; do
    case $word in
    --on-active=*) exit 0 ;;
    --setenv=*) export "${word#--setenv=}" ;;
    -*) ;;
    *) break ;;
    esac
    shift
done
setsid "$@" </dev/null >/dev/null 2>&1 &
