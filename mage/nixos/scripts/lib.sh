# shellcheck shell=sh
# shellcheck disable=SC2034 # every script uses some of these
# Shared by every script that runs on a server. POSIX sh; needs only coreutils,
# findutils, util-linux, tar, systemd and nix. VPS_ROOT is a prefix for every
# path: empty on a real server, a temporary folder in tests.
set -u
umask 022

ROOT=${VPS_ROOT-}
STATE=$ROOT/var/lib/vps
NIXOS=$ROOT/etc/nixos
PROFILE=$ROOT/nix/var/nix/profiles/system

systemd() { [ -d "$ROOT/run/systemd/system" ]; }

# now sets $now to the seconds since 1970. The date is asked for once: what is added
# is the time that passed, so that no deadline moves when the clock is set.
now() {
    passed=
    [ ! -r /proc/uptime ] || read -r passed _ </proc/uptime
    passed=${passed%%.*}
    if [ -z "$passed" ]; then
        now=$(date +%s)
        return
    fi
    [ -n "${began-}" ] || began=$(($(date +%s) - passed))
    now=$((began + passed))
}

# manifest DIR prints the canonical listing of a tree: one line a file or
# symlink, sorted by the bytes of the path. The laptop makes the same bytes.
# A folder with names that the format cannot hold, or with sockets and the
# like, is "odd" as a whole: nobody can build upon it, only replace it.
manifest() {
    if [ ! -d "$1" ]; then
        echo missing
        return
    fi
    # Most trees have plain files only: one look for all else.
    special=$(LC_ALL=C find "$1" ! -type d ! -type f -o -type f -perm -100 -o -name '*[[:cntrl:]\\]*')
    if [ -n "$special" ] &&
        [ -n "$(LC_ALL=C find "$1" ! -type d ! -type f ! -type l -o -name '*[[:cntrl:]\\]*')" ]; then
        echo odd
        return
    fi
    (
        cd "$1" || exit 1
        {
            find . -type f ! -perm -100 -exec sha256sum {} + | listed f
            [ -z "$special" ] || {
                find . -type f -perm -100 -exec sha256sum {} + | listed x
                find . -type l | while IFS= read -r link; do
                    hash=$(readlink -n "$link" | sha256sum)
                    printf 'l %s %s\n' "${hash%% *}" "${link#./}"
                done
            }
        } | LC_ALL=C sort -k 3
    )
}

# listed TYPE turns sha256sum's lines into the manifest's.
listed() {
    while IFS= read -r line; do
        printf '%s %s %s\n' "$1" "${line%% *}" "${line#*./}"
    done
}

# digest DIR prints the hash of a tree's manifest.
digest() { manifest "$1" | hash_of; }

# hash_of prints the hash of its input.
hash_of() {
    hash_=$(sha256sum)
    echo "${hash_%% *}"
}

# field FILE KEY prints the value of the line KEY=VALUE, or nothing.
field() {
    [ -f "$1" ] || return 0
    while IFS= read -r line; do
        case $line in
        "$2="*)
            printf '%s\n' "${line#*=}"
            return 0
            ;;
        esac
    done <"$1"
}

# lastline FILE prints its last line, whole or not, without a process of its own.
lastline() {
    last_=
    while IFS= read -r line || [ -n "$line" ]; do last_=$line; done <"$1"
    printf '%s\n' "$last_"
}

# generation prints the number of the system profile's generation.
generation() {
    link=$(readlink "$PROFILE") || return 0
    link=${link##*/}
    link=${link#system-}
    echo "${link%-link}"
}

# existing PATH sets $existing to it, or to the first of its parents that exists.
existing() {
    existing=$1
    until [ -e "$existing" ]; do existing=${existing%/*}; done
    existing=${existing:-/}
}

# free PATH... prints the kilobytes that are free where each would live, a line
# each, or nothing: with one missing, a line would be taken for another.
free() {
    for path; do
        existing "$path"
        shift
        set -- "$@" "$existing"
    done
    lines=$(df -Pk "$@") || return 0
    printf '%s\n' "$lines" | {
        read -r _
        while read -r _ _ _ kilobytes _; do echo "$kilobytes"; done
    }
}

# troubled lists the units that are failed or restarting: of the system, and of
# every user whose services run without a login.
troubled() {
    systemd || return 0
    troubled_of system systemctl
    for linger in "$ROOT"/var/lib/systemd/linger/*; do
        [ -e "$linger" ] || continue
        user=${linger##*/}
        uid=$(id -u "$user" 2>/dev/null) || continue
        [ -d "$ROOT/run/user/$uid" ] || continue
        troubled_of "user:$user" setpriv --reuid="$uid" --regid="$(id -g "$user")" --init-groups \
            env XDG_RUNTIME_DIR="$ROOT/run/user/$uid" systemctl --user
    done
}

troubled_of() {
    scope=$1
    shift
    "$@" list-units --all --plain --no-legend --no-pager \
        --state=failed,auto-restart,auto-restart-queued 2>/dev/null |
        while read -r unit _ _ sub _; do
            echo "$scope $unit $sub"
        done
}

# alive ID says whether the supervisor of a run still lives. It looks at a lock
# of that run alone, so asking never keeps anyone from the server's own lock.
alive() {
    [ -e "$STATE/runs/$1/alive" ] && ! (flock -n -s 7) 7<"$STATE/runs/$1/alive"
}
