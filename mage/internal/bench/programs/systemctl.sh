#!/bin/sh
# Stands for systemctl on a server where nothing is wrong and no upgrade runs.
case $1 in
is-active)
    echo inactive
    exit 3
    ;;
is-system-running) echo running ;;
esac
