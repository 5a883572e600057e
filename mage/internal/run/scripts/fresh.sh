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
    for program in gzip xz zstd; do
        ! command -v $program >/dev/null 2>&1 || say decompressor $program
    done
}

# A test's server has no devices, only files in their place.
is_disk() { [ -b "$1" ] || { [ -n "$ROOT" ] && [ -e "$1" ]; }; }

of_disks() {
    printf '%s\n' "${DISKS-}" | while IFS= read -r disk; do
        case $disk in
        '') ;;
        *) if is_disk "$ROOT$disk"; then
            say disk "$disk"
            node=$(readlink -f "$ROOT$disk")
            say node "${node##*/} $disk"
        else say nodisk "$disk"; fi ;;
        esac
    done
    # Older versions know fewer columns. No loop devices, no CD-ROM, no RAM disks.
    { lsblk -dbnP -e 1,7,11 -o NAME,SIZE,MODEL,SERIAL,WWN,PTUUID 2>/dev/null ||
        lsblk -dbnP -e 1,7,11 -o NAME,SIZE,MODEL,SERIAL 2>/dev/null; } | while IFS= read -r line; do
        say blockdevice "$line"
    done
    for link in "$ROOT"/dev/disk/by-id/*; do
        [ ! -L "$link" ] || {
            node=$(readlink -f "$link")
            say byid "${node##*/} ${link##*/}"
        }
    done
    while read -r source place kind _; do
        case $source in
        /dev/*) say mount "$source on $place ($kind)" ;;
        esac
    done 2>/dev/null <"$ROOT/proc/mounts"
}

# The host keys of every type, so that the next system of this server is known by
# any of them.
of_host_keys() {
    for file in "$ROOT"/etc/ssh/ssh_host_*_key.pub $(sshd_setting hostkey | sed "s|^|$ROOT|; s|\$|.pub|"); do
        [ ! -f "$file" ] || while read -r type key _; do
            say hostkey "$type $key"
        done <"$file"
    done | sort -u
}

# What an install that was interrupted left at work: the ssh program of the
# installer's container marks all that it starts.
of_leftovers() {
    # shellcheck disable=SC2013 # one word each
    for file in $(grep -al 'VPS_INSTALL=' "$ROOT"/proc/[0-9]*/environ 2>/dev/null); do
        mark=$(tr '\0' '\n' <"$file" 2>/dev/null | sed -n 's/^VPS_INSTALL=//p')
        process=${file%/environ}
        [ -z "$mark" ] || say left "${process##*/} $mark $(tr '\0\n' '  ' <"$process/cmdline" 2>/dev/null | cut -c 1-200)"
    done
}

of_system
of_disks
of_host_keys
[ "$(id -u)" != 0 ] || of_leftovers
[ ! -f "$STATE/record" ] || while IFS= read -r line; do
    printf 'record.%s\n' "$line"
done <"$STATE/record"
[ "$(id -u)" != 0 ] || {
    generation
    say generation "$generation"
}
echo end
