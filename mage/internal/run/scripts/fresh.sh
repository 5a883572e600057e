# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Prints what must be known of a server before its disk is wiped, as KEY=VALUE
# lines, ending with "end". Changes nothing, and needs no more than any Linux
# has. DISKS are the devices that would be erased, one a line.
PATH=$PATH:$ROOT/run/current-system/sw/bin:/usr/sbin:/sbin

say() { printf '%s=%s\n' "$1" "$2"; }

# has NAME COMMAND... says whether a program is there and does what we need.
has() {
    name=$1
    shift
    ! "$@" >/dev/null 2>&1 </dev/null || say "$name" 1
}

release() {
    # shellcheck disable=SC1091 # a file of the server's
    (. "$ROOT/etc/os-release" 2>/dev/null && eval "printf '%s' \"\${$1-}\"")
}

of_system() {
    say fresh 1
    say kernel "$(uname -s)"
    say arch "$(uname -m)"
    say uid "$(id -u)"
    say hostname "$(uname -n)"
    say os "$(release PRETTY_NAME)"
    [ "$(release VARIANT_ID)" != installer ] || say installer 1
    [ ! -e "$ROOT/etc/NIXOS" ] || say nixos 1
    say memory "$(while read -r key value _; do
        [ "$key" != MemTotal: ] || echo "$value"
    done 2>/dev/null <"$ROOT/proc/meminfo")"
    has tar tar --version
    has cpio cpio --version
    has setsid setsid --wait true
}

# A test's server has no devices, only files in their place.
is_disk() { [ -b "$1" ] || { [ -n "$ROOT" ] && [ -e "$1" ]; }; }

of_disks() {
    printf '%s\n' "${DISKS-}" | while IFS= read -r disk; do
        case $disk in
        '') ;;
        *) if is_disk "$ROOT$disk"; then say disk "$disk"; else say nodisk "$disk"; fi ;;
        esac
    done
    lsblk -dn -e 7,11 -o NAME,SIZE,MODEL 2>/dev/null | while IFS= read -r line; do
        say blockdevice "$line"
    done
    while read -r source place kind _; do
        case $source in
        /dev/*) say mount "$source on $place ($kind)" ;;
        esac
    done 2>/dev/null <"$ROOT/proc/mounts"
}

of_system
of_disks
[ ! -f "$STATE/record" ] || while IFS= read -r line; do
    printf 'record.%s\n' "$line"
done <"$STATE/record"
[ "$(id -u)" != 0 ] || {
    generation
    say generation "$generation"
}
echo end
