# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Lets the key in the line KEY log in as LOGIN, or, without ADD, no longer. BLOB
# is the part of the line that no other key has. Our own NixOS reads keys from a
# secret, not from the home, and the installer takes those of the home along.
PATH=$PATH:$ROOT/run/current-system/sw/bin
SECRET=$ROOT/run/secrets-for-users/ssh-public-key

home=$(getent passwd "$LOGIN" 2>/dev/null | cut -d : -f 6)
[ -n "$home" ] || [ "$LOGIN" != root ] || home=/root
if [ -z "$home" ]; then
    echo "no home folder of $LOGIN is known" >&2
    exit 1
fi
home=$ROOT$home

add() {
    [ ! -s "$1" ] || [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"
    printf '%s\n' "$KEY" >>"$1"
}

# The file keeps its owner, its mode and its place: it is written into.
remove() {
    [ -f "$1" ] && grep -qF "$BLOB" "$1" || return 0
    kept=$(grep -vF "$BLOB" "$1")
    if [ -n "$kept" ]; then printf '%s\n' "$kept" >"$1"; else : >"$1"; fi
}

if [ "${ADD-}" = 1 ]; then
    if [ ! -d "$home/.ssh" ]; then
        mkdir -m 0700 "$home/.ssh" || exit 1
        [ -n "$ROOT" ] || chown "$LOGIN:" "$home/.ssh"
    fi
    if [ ! -e "$home/.ssh/authorized_keys" ]; then
        (umask 077 && : >"$home/.ssh/authorized_keys") || exit 1
        [ -n "$ROOT" ] || chown "$LOGIN:" "$home/.ssh/authorized_keys"
    fi
    add "$home/.ssh/authorized_keys" || exit 1
    [ ! -f "$SECRET" ] || add "$SECRET" || exit 1
else
    remove "$home/.ssh/authorized_keys" || exit 1
    remove "$SECRET" || exit 1
fi
