# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Makes sure that the run ID, whose start was cut off, never starts: its folder
# can be made once only, by start.sh or here.
PATH=$ROOT/run/current-system/sw/bin:$PATH

mkdir -p "$STATE/runs"
chmod 700 "$STATE"
if (umask 077 && mkdir "$STATE/runs/$ID") 2>/dev/null; then
    echo forgotten=1
fi
