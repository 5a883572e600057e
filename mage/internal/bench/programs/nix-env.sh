#!/bin/sh
# Stands for nix-env -p PROFILE --set SYSTEM.
read -r n 2>/dev/null <"$VPS_ROOT/nix/generations" || n=1
n=$((n + 1))
echo $n >"$VPS_ROOT/nix/generations"
ln -s "$4" "$2-$n-link" && ln -sfn "${2##*/}-$n-link" "$2"
