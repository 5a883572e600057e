#!/bin/sh
# Stands for a system's own switch.
case $1 in
switch | test) ln -sfn "${0%/bin/switch-to-configuration}" "$VPS_ROOT/run/current-system" ;;
esac
