# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Prints what the laptop must know before it may decide anything, as KEY=VALUE
# lines, ending with "end". Changes nothing. AGE_KEY is the path of the server's
# age key, SSH_KEYS those of SSH host keys, one a line; MANIFEST=1 asks for the listing of /etc/nixos, UNITS=1 for the units in trouble.
PATH=$ROOT/run/current-system/sw/bin:$PATH

say() { printf '%s=%s\n' "$1" "$2"; }

# first FILE sets $first to its first line, which may lack a line's end.
first() {
    first=
    [ ! -f "$1" ] || IFS= read -r first <"$1" || :
}

facts_of_system() {
    say facts 1
    names=$(uname -n -m)
    say hostname "${names%% *}"
    say arch "${names#* }"
    uid=$(id -u)
    say uid "$uid"
    now
    say time "$now"
    login_port
    [ -z "$login_port" ] || say port "$login_port"
    [ ! -e "$ROOT/etc/NIXOS" ] || say nixos 1
    # shellcheck disable=SC1091 # a file of the server's
    say os "$(. "$ROOT/etc/os-release" 2>/dev/null && printf '%s' "${PRETTY_NAME-}")"
    ! systemd || say systemd 1
    resolve "$ROOT/run/current-system"
    say current "$resolved"
    resolve "$ROOT/run/booted-system"
    say booted "$resolved"
    resolve "$PROFILE"
    say profile "$resolved"
    generation
    say generation "$generation"
    first "$ROOT/run/current-system/nixos-version"
    say version "$first"
    [ ! -e "$ROOT/run/current-system" ] || lacking "$ROOT/run/current-system"
    [ ! -r "$ROOT/proc/meminfo" ] || while read -r key value _; do
        [ "$key" = MemTotal: ] || continue
        say memory "$value"
        break
    done <"$ROOT/proc/meminfo"
    free "$ROOT/nix/store" "$ROOT/etc" "$STATE" "$ROOT/boot"
    set -- nix etc state boot
    for kilobytes in $free; do
        say "free.$1" "$kilobytes"
        shift
    done
}

# login_port sets $login_port to the port that sshd took this login on. What made the
# login root took the variable out of the environment, and still has it itself.
login_port() {
    login_port=${SSH_CONNECTION-}
    [ -n "$login_port" ] || [ -z "${SUDO_USER-}${DOAS_USER-}" ] || [ ! -r "/proc/$PPID/environ" ] ||
        login_port=$(tr '\000' '\n' <"/proc/$PPID/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
    login_port=${login_port##* }
    case $login_port in *[!0-9]*) login_port= ;; esac
}

# /etc/nixos must be a folder that can be exchanged by a rename.
facts_of_tree() {
    kind=dir
    if [ -L "$NIXOS" ]; then
        kind=symlink
    elif [ ! -e "$NIXOS" ]; then
        kind=missing
    elif [ ! -d "$NIXOS" ]; then
        kind=other
    elif mountpoint -q "$NIXOS" 2>/dev/null; then
        kind=mount
    fi
    say tree "$kind"
    if [ "$uid" = 0 ] || [ -n "$ROOT" ]; then
        existing "$STATE"
        [ -w "$existing" ] || say readonly "$STATE"
        [ -w "$ROOT/etc" ] || say readonly "$ROOT/etc"
    fi
    if [ -f "$ROOT$AGE_KEY" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            case $line in
            AGE-SECRET-KEY-*)
                hash=$(printf '%s' "$line" | sha256sum)
                say agekey "${hash%% *}"
                ;;
            esac
        done <"$ROOT$AGE_KEY"
    fi
    [ -z "$SSH_KEYS" ] || printf '%s\n' "$SSH_KEYS" | while IFS= read -r path; do
        first "$ROOT$path.pub"
        [ -z "$first" ] || say sshkey "$first"
    done
    [ ! -f "$STATE/record" ] || while IFS= read -r line; do
        printf 'record.%s\n' "$line"
    done <"$STATE/record"
    [ ! -e "$STATE/intent" ] || {
        intended
        [ "$intended" = none ] || say intent "$intended"
    }
}

# The newest run, and whoever holds the server now.
facts_of_runs() {
    field "$STATE/holder" id
    holder=$field
    if [ -n "$holder" ] && [ ! -s "$STATE/runs/$holder/ended" ] && alive "$holder"; then
        while IFS= read -r line; do
            printf 'holder.%s\n' "$line"
        done <"$STATE/holder"
        lastline "$STATE/runs/$holder/status"
        say holder.status "$lastline"
    fi
    last=
    newest=
    first "$STATE/last"
    [ -z "$first" ] || newest=$STATE/runs/$first
    for dir in "$STATE"/runs/*; do
        [ -f "$dir/request" ] || continue
        last=$dir
        [ -s "$dir/ended" ] || [ "${dir##*/}" = "$holder" ] || ! [ -e "$dir/armed" ] ||
            say open "${dir##*/}"
    done
    [ ! -f "$newest/request" ] || last=$newest
    if [ -n "$last" ]; then
        say last.id "${last##*/}"
        lastline "$last/status"
        say last.status "$lastline"
    fi
    ! systemd || each_line say upgrade "$(TZ=UTC systemctl show \
        --property=LoadState,ActiveState,Result,InactiveEnterTimestamp nixos-upgrade.service 2>/dev/null)"
    [ "${UNITS-}" = 1 ] || return 0
    ! systemd || say systemstate "$(systemctl is-system-running 2>/dev/null)"
    each_line say unit "$(troubled)"
}

facts_of_system
facts_of_tree
facts_of_runs
# shellcheck disable=SC2153 # given by the laptop
if [ "${MANIFEST-}" = 1 ] && [ "$kind" != symlink ] && [ "$kind" != mount ]; then
    manifest "$NIXOS" m=
fi
echo end
