# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Prints what the laptop must know before it may decide anything, as KEY=VALUE
# lines, ending with "end". Changes nothing. AGE_KEY is the path of the server's
# age key; MANIFEST=1 asks for the listing of /etc/nixos, RUNS=1 for the runs.
PATH=$ROOT/run/current-system/sw/bin:$PATH

say() { printf '%s=%s\n' "$1" "$2"; }

# first FILE prints its first line, which may lack a line's end.
first() {
    [ -f "$1" ] || return 0
    line=
    IFS= read -r line <"$1" || [ -n "$line" ] && printf '%s\n' "$line"
}

facts_of_system() {
    say facts 1
    uname -n -m | {
        read -r name machine
        say hostname "$name"
        say arch "$machine"
    }
    uid=$(id -u)
    say uid "$uid"
    now
    say time "$now"
    [ ! -e "$ROOT/etc/NIXOS" ] || say nixos 1
    # shellcheck disable=SC1091 # a file of the server's
    say os "$(. "$ROOT/etc/os-release" 2>/dev/null && printf '%s' "${PRETTY_NAME-}")"
    ! systemd || say systemd 1
    # Of another Linux the last is not even in a folder, and gives no line.
    readlink -f "$ROOT/run/current-system" "$ROOT/run/booted-system" "$PROFILE" | {
        for key in current booted profile; do
            system=
            IFS= read -r system
            say "$key" "$system"
        done
    }
    say generation "$(generation)"
    say version "$(first "$ROOT/run/current-system/nixos-version")"
    memory=$(while read -r key value _; do
        [ "$key" != MemTotal: ] || echo "$value"
    done 2>/dev/null <"$ROOT/proc/meminfo")
    say memory "$memory"
    set -- nix etc state boot
    free "$ROOT/nix/store" "$ROOT/etc" "$STATE" "$ROOT/boot" | while read -r kilobytes; do
        say "free.$1" "$kilobytes"
        shift
    done
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
    [ ! -f "$STATE/record" ] || while IFS= read -r line; do
        printf 'record.%s\n' "$line"
    done <"$STATE/record"
    [ ! -e "$STATE/intent" ] || say intent "$(field "$STATE/intent" id)"
}

# The newest run, and whoever holds the server now.
facts_of_runs() {
    holder=$(field "$STATE/holder" id)
    if [ -n "$holder" ] && alive "$holder"; then
        while IFS= read -r line; do
            printf 'holder.%s\n' "$line"
        done <"$STATE/holder"
        say holder.status "$(lastline "$STATE/runs/$holder/status")"
    fi
    last=
    for dir in "$STATE"/runs/*; do
        [ -f "$dir/request" ] || continue
        last=$dir
        [ -e "$dir/ended" ] || [ "${dir##*/}" = "$holder" ] || ! [ -e "$dir/armed" ] ||
            say open "${dir##*/}"
    done
    if [ -n "$last" ]; then
        say last.id "${last##*/}"
        say last.status "$(lastline "$last/status")"
    fi
    if systemd; then
        say upgrade "$(systemctl is-active nixos-upgrade.service 2>/dev/null)"
        say systemstate "$(systemctl is-system-running 2>/dev/null)"
    fi
    [ "${UNITS-}" != 1 ] || troubled | while IFS= read -r line; do say unit "$line"; done
}

facts_of_system
facts_of_tree
facts_of_runs
# shellcheck disable=SC2153 # given by the laptop
if [ "${MANIFEST-}" = 1 ] && [ "$kind" != symlink ] && [ "$kind" != mount ]; then
    manifest "$NIXOS" | while IFS= read -r line; do printf 'm=%s\n' "$line"; done
fi
echo end
