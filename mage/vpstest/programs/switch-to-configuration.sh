#!/bin/sh
# Plays a system's own switch: its actions, its lock, the order of its steps. What
# the steps do is decided by the process that plays the server.
system=${0%/bin/switch-to-configuration}
action=${1-}

case $action in
check | switch | boot | test | dry-activate) ;;
*)
    echo "Usage: $0 [check|switch|boot|test|dry-activate]" >&2
    exit 1
    ;;
esac
if [ ! -e @ROOT@/etc/NIXOS ]; then
    echo "This is not a NixOS installation!" >&2
    exit 2
fi

@MKDIR@ -p @ROOT@/run/nixos || exit 1
exec 7>>@ROOT@/run/nixos/switch-to-configuration.lock
@FLOCK@ -n 7 || {
    echo "Could not acquire lock" >&2
    exit 11
}

# The children do not get the lock, as with the real one.
step() {
    @ASK@/switch-to-configuration "$1" "$system" "$action" 7>&- || exit
}

step check
[ "$action" != check ] || exit 0
case $action in
switch | boot) step bootloader ;;
esac
[ "$action" != boot ] || exit 0
step begin
[ "$action" != dry-activate ] || exit 0
step activate
step end
