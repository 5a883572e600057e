# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it
# What this server's sshd says of itself. Goes before scripts that ask.

# sshd_file prints the configuration of the sshd that let this login in, if it was
# started with one of its own: its title has the words that it was started with.
sshd_file() {
    process=$$
    while [ -z "$ROOT" ] && [ "${process:-0}" -gt 1 ]; do
        words=$(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null)
        case $words in
        *sshd*' -f '*)
            words=${words#*" -f "}
            printf '%s\n' "${words%% *}"
            return
            ;;
        esac
        process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status" 2>/dev/null)
    done
}

# sshd_setting NAME [USER] prints the values of a setting as sshd itself reads its
# configuration, for a user if one is named; nothing if it cannot be asked.
sshd_setting() {
    sshd=$ROOT/usr/sbin/sshd
    [ -n "$ROOT" ] || sshd=$(PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin command -v sshd) || return 0
    [ -x "$sshd" ] || return 0
    file=$(sshd_file)
    for how in -T -G; do # -G needs no host keys and no folder of /run, but sshd 9.3
        # shellcheck disable=SC2086 # options
        if answer=$("$sshd" $how ${file:+-f "$file"} ${2:+-C user=$2,host=localhost,addr=127.0.0.1} 2>/dev/null); then
            printf '%s\n' "$answer" | sed -n "s/^$1 //p"
            return 0
        fi
    done
}
