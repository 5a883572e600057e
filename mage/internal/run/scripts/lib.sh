# shellcheck shell=sh
# shellcheck disable=SC2034 # every script uses some of these
# Shared by every script that runs on a server. POSIX sh; needs only coreutils,
# findutils, util-linux, sed, tar, systemd and nix. VPS_ROOT is a prefix for every
# path: empty on a real server, a temporary folder in tests.
set -u
umask 022
# To bash the longest that a read may wait: some export it to log people out.
unset TMOUT

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
    [ -n "${began-}" ] || began=${VPS_BEGAN:-$(($(date +%s) - passed))}
    now=$((began + passed))
}

# resolve DIR sets $resolved to the path of the folder without symbolic links, or to
# nothing if there is none. No process, as everything that is done often.
resolve() {
    resolved=
    here=${PWD:-/}
    cd -P "$1" 2>/dev/null || return
    resolved=$PWD
    cd "$here" || return
}

# running SYSTEM says whether it is the system that runs.
running() { resolve "$ROOT/run/current-system" && [ "$resolved" = "$1" ]; }

# manifest DIR [PREFIX] prints the canonical listing of a tree: one line a file or
# symlink, sorted by the bytes of the path. The laptop makes the same bytes.
# A folder with names that the format cannot hold, or with sockets and the
# like, is "odd" as a whole: nobody can build upon it, only replace it.
manifest() {
    if [ ! -d "$1" ]; then
        echo "${2-}missing"
        return
    fi
    # Most trees have plain files only, whose lines do not begin with "./".
    listing=$(cd "$1" && LC_ALL=C find . -name '*[[:cntrl:]\\]*' -print -o -type d \
        -o -type f ! -perm -100 -exec sha256sum {} + -o -print | LC_ALL=C sort -k 2) || return
    case $newline$listing in
    *"$newline"./*) ;;
    *)
        each_line listed "${2-}f" "$listing"
        return
        ;;
    esac
    if [ -n "$(LC_ALL=C find "$1" ! -type d ! -type f ! -type l -o -name '*[[:cntrl:]\\]*')" ]; then
        echo "${2-}odd"
        return
    fi
    special "$@" | LC_ALL=C sort -k 3
}

# special DIR [PREFIX] prints the lines of a tree that has more than plain files.
special() {
    cd "$1" || exit 1
    each_line listed "${2-}f" "$(find . -type f ! -perm -100 -exec sha256sum {} +)"
    each_line listed "${2-}x" "$(find . -type f -perm -100 -exec sha256sum {} +)"
    find . -type l | while IFS= read -r link; do
        hash=$(readlink -n "$link" | sha256sum)
        printf '%s %s %s\n' "${2-}l" "${hash%% *}" "${link#./}"
    done
}

# listed TYPE LINE turns a line of sha256sum's into the manifest's.
listed() { printf '%s %s %s\n' "$1" "${2%% *}" "${2#*./}"; }

newline='
'

# each_line COMMAND WORD TEXT calls COMMAND WORD LINE for each line of a text, and
# fails if one fails. A shell that reads lines from a pipe asks the kernel for each byte.
each_line() {
    failures=0
    IFS=$newline
    set -f
    for line in $3; do "$1" "$2" "$line" || failures=1; done
    set +f
    unset IFS
    return "$failures"
}

# hash_of FILE sets $hash to the hash of its content.
hash_of() {
    hash=$(sha256sum <"$1")
    hash=${hash%% *}
}

# digest DIR sets $digest to the hash of a tree's manifest.
digest() {
    digest=$(manifest "$1" | sha256sum)
    digest=${digest%% *}
}

# field FILE KEY sets $field to the value of the line KEY=VALUE, or to nothing.
field() {
    field=
    [ -f "$1" ] || return 0
    while IFS= read -r line; do
        case $line in
        "$2="*)
            field=${line#*=}
            return 0
            ;;
        esac
    done <"$1"
}

# intended sets $intended to the run whose commit is under way, or to "none". The
# record is the last step of a commit: an intent of the same run is only left over.
intended() {
    intended=none
    [ -e "$STATE/intent" ] || return 0
    field "$STATE/record" id
    recorded=$field
    field "$STATE/intent" id
    [ "$field" = "$recorded" ] || intended=$field
}

# copy FROM TO copies a small text without a process.
copy() {
    while IFS= read -r line; do
        printf '%s\n' "$line" || return
    done <"$1" >"$2"
}

# lacking SYSTEM prints the programs that a run needs and that a system does not have.
lacking() {
    for program in cmp cp find flock head ln mkfifo mv nix-env nixos-rebuild sed sha256sum sort sync \
        systemctl systemd-run tail tar timeout xargs; do
        [ ! -x "$1/sw/bin/$program" ] || continue
        case $program in
        system*) systemd || continue ;; # without it, nothing is asked of it
        esac
        printf 'lacks=%s\n' "$program"
    done
}

# lastline FILE sets $lastline to its last line, whole or not, without what a built
# system says of itself, which is long.
lastline() {
    lastline=
    while IFS= read -r line || [ -n "$line" ]; do lastline=$line; done <"$1"
    case $lastline in
    *" built facts="* | *" built manifest="*) lastline="${lastline%% built *} built" ;;
    esac
}

# generation sets $generation to the number of the system profile's generation.
generation() {
    generation=$(readlink "$PROFILE") || return 0
    generation=${generation##*/}
    generation=${generation#system-}
    generation=${generation%-link}
}

# existing PATH sets $existing to it, or to the first of its parents that exists.
existing() {
    existing=$1
    until [ -e "$existing" ]; do
        case $existing in
        /*/*) existing=${existing%/*} ;;
        *) existing=/ ;;
        esac
    done
}

# free PATH... sets $free to the kilobytes that are free where each would live, or to
# nothing: with one missing, a number would be taken for another.
free() {
    free=
    for path; do
        existing "$path"
        shift
        set -- "$@" "$existing"
    done
    lines=$(df -Pk "$@") || return 0
    each_line kilobytes '' "${lines#*"$newline"}"
}

# kilobytes _ LINE adds the fourth word of a line.
kilobytes() {
    unset IFS
    # shellcheck disable=SC2086 # words are what is wanted
    set -- $2
    free="$free $4"
}

# full PATH... sets $full to words about the first of the paths whose file system has
# no room left, or to nothing. For what has failed to be written.
full() {
    full=
    for place; do
        free "$place"
        if [ -n "$free" ] && [ "${free# }" -lt 1024 ]; then
            full="the disk of ${place#"$ROOT"} is full:$free kB are free"
            return
        fi
        lines=$(df -Pi "$existing" 2>/dev/null) || continue
        # A file system that does not count them says that it has none at all.
        inodes "${lines#*"$newline"}" || {
            full="the disk of ${place#"$ROOT"} is full: it has no inodes left"
            return
        }
    done
}

# inodes LINE says whether a line of df -Pi's has some left.
inodes() {
    # shellcheck disable=SC2086 # words are what is wanted
    set -- $1
    case ${2-}:${4-} in
    *[!0-9:]* | :* | *: | 0:*) return 0 ;;
    esac
    [ "$4" -ge 8 ]
}

# mounted PATH says whether something is mounted at a path or below it, and sets
# $mount to where.
mounted() {
    mount=
    [ ! -L "$1" ] && [ -r "$ROOT/proc/self/mountinfo" ] || return
    resolve "$1" || resolved=$1
    while read -r _ _ _ _ mount _; do
        case $mount/ in
        "$resolved"/*) return 0 ;;
        esac
    done <"$ROOT/proc/self/mountinfo"
    mount=
    return 1
}

# remove PATH... removes files and folders, and fails if one of them stays. What is
# mounted below a folder is somebody's elsewhere: such a folder stays as it is. The
# device alone does not tell, because a file system can be mounted below itself.
remove() {
    stays=0
    for path; do
        shift
        [ -e "$path" ] || [ -L "$path" ] || continue
        if mounted "$path"; then
            echo "$path is not removed: something is mounted at $mount" >&2
            stays=1
        else
            set -- "$@" "$path"
        fi
    done
    [ $# = 0 ] || if [ -r /proc/self/mountinfo ]; then
        rm -rf --one-file-system "$@"
    else
        rm -rf "$@"
    fi || stays=1
    return "$stays"
}

# apart runs a program without the descriptors of our locks: one that leaves a
# daemon behind would hold the server for ever.
apart() { "$@" 7>&- 8>&- 9>&-; }

# troubled lists the units that are failed or restarting, as SCOPE UNIT STATE: of the
# system, and of every user whose services run without a login. Where a user's
# manager does not answer, its own unit is there, as "unanswered". It fails if not all
# of it could be written.
troubled() {
    systemd || return 0
    scope=system unwritten=0
    # shellcheck disable=SC2086 # words
    each_line in_trouble '' "$(apart systemctl list-units $in_trouble 2>/dev/null)" || unwritten=1
    for linger in "$ROOT"/var/lib/systemd/linger/*; do
        [ -e "$linger" ] || continue
        account "${linger##*/}" || continue
        [ -d "$ROOT/run/user/$uid" ] || continue
        scope=user:${linger##*/}
        case " ${silent-} " in
        *" $uid "*) ;;
        *) ! users_units || continue ;;
        esac
        silent="${silent-} $uid"
        echo "$scope user@$uid.service unanswered" || unwritten=1
    done
    return "$unwritten"
}

in_trouble='--all --plain --no-legend --no-pager --state=failed,auto-restart,auto-restart-queued'

# users_units lists those of the user $uid. That user may trace what runs as him:
# take over its descriptors, stop it, and let it say anything. So it gets none of
# ours and a time limit, and we read from a program of our own, which ends in time.
users_units() {
    limit=5
    [ -z "${silent-}" ] || limit=1
    # shellcheck disable=SC2086 # words
    units=$({
        apart timeout -k 1 "$limit" setpriv --reuid="$uid" --regid="$gid" --init-groups \
            env -i PATH="$PATH" XDG_RUNTIME_DIR="$ROOT/run/user/$uid" ${ROOT:+VPS_ROOT="$ROOT"} \
            systemctl --user list-units $in_trouble && echo answered
    } </dev/null 2>/dev/null | apart timeout "$((limit + 2))" head -c 65536)
    case $newline$units in
    *"${newline}answered") each_line in_trouble '' "${units%answered}" || unwritten=1 ;;
    *) return 1 ;;
    esac
}

# in_trouble _ LINE takes what is wanted of a line of list-units, whoever wrote it.
in_trouble() {
    unset IFS
    # shellcheck disable=SC2086 # words are what is wanted
    set -- $2
    case ${1-}${4-} in
    '' | *[!A-Za-z0-9:_.@\\-]*) ;;
    *) echo "$scope $1 ${4-}" ;;
    esac
}

# account NAME sets $uid and $gid to those of a user. A user in no file is asked for.
account() {
    [ ! -r "$ROOT/etc/passwd" ] || while IFS=: read -r name _ uid gid _; do
        [ "$name" != "$1" ] || return 0
    done <"$ROOT/etc/passwd"
    uid=$(id -u "$1" 2>/dev/null) && gid=$(id -g "$1" 2>/dev/null)
}

# alive ID says whether the supervisor of a run still lives. It looks at a lock
# of that run alone, so asking never keeps anyone from the server's own lock.
alive() {
    [ -e "$STATE/runs/$1/pid" ] && [ -e "$STATE/runs/$1/alive" ] &&
        ! flock -n -s 7 7<"$STATE/runs/$1/alive"
}
