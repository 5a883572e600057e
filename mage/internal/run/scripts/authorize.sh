# shellcheck shell=sh
# shellcheck disable=SC2154,SC2153 # lib.sh and sshd.sh go before it, and the laptop's variables
# Lets the key in the line KEY log in as LOGIN, or, without ADD, no longer, and
# prepares the way back in to the installer that is going to replace this system.
# BLOB is the part of KEY that no other key has, and MARK is in every line that is
# added here.
#
# sshd may read keys from anywhere: a secret, a file outside of the home, the
# answer of a program. The installer takes along what is in the home alone, so the
# person's own keys, OWN and all that sshd takes for LOGIN now, are put there too.
PATH=$PATH:$ROOT/run/current-system/sw/bin

home=$(getent passwd "$LOGIN" 2>/dev/null | cut -d : -f 6)
[ -n "$home" ] || [ "$LOGIN" != root ] || home=/root
if [ -z "$home" ]; then
    echo "no home folder of $LOGIN is known" >&2
    exit 1
fi
uid=$(id -u "$LOGIN" 2>/dev/null)
keys=$ROOT$home/.ssh/authorized_keys

# expand PATTERN prints a path of sshd's configuration for LOGIN.
expand() {
    path=$(printf '%s\n' "$1" | sed "s|%h|$home|g; s|%u|$LOGIN|g; s|%U|$uid|g; s|%%|%|g")
    case $path in
    /*) printf '%s\n' "$ROOT$path" ;;
    *) printf '%s\n' "$ROOT$home/$path" ;;
    esac
}

# key_files prints where sshd looks for the keys of LOGIN.
key_files() {
    patterns=$(sshd_setting authorizedkeysfile "$LOGIN")
    for pattern in ${patterns:-.ssh/authorized_keys /run/secrets-for-users/ssh-public-key}; do
        [ "$pattern" = none ] || expand "$pattern"
    done
}

# program_keys prints what AuthorizedKeysCommand says of the first key of OWN.
program_keys() {
    program=$(sshd_setting authorizedkeyscommand "$LOGIN")
    as=$(sshd_setting authorizedkeyscommanduser "$LOGIN")
    case $program in
    '' | none) return ;;
    esac
    first=${OWN%%"$newline"*}
    type=${first%% *} blob=${first#* }
    blob=${blob%% *}
    line=$(printf '%s\n' "$program" | sed "s|%h|$home|g; s|%u|$LOGIN|g; s|%U|$uid|g; s|%t|$type|g; s|%k|$blob|g; s|%%|%|g")
    if [ "$as" = root ] || [ -n "$ROOT" ]; then
        timeout 10 /bin/sh -c "$line" 2>/dev/null
    else
        timeout 10 su -s /bin/sh "$as" -c "$line" 2>/dev/null
    fi </dev/null
}

# plain passes on the lines that begin with a key. What stands before a key
# restricts it, and the installer would drop that.
plain() { grep -E '^(ssh|ecdsa|sk)-[^ ]+ +[A-Za-z0-9+/=]+' | cut -d ' ' -f 1,2; }

# add FILE TYPE BLOB
add() {
    grep -qF "$3" "$1" && return
    [ ! -s "$1" ] || [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"
    printf '%s %s %s\n' "$2" "$3" "$MARK" >>"$1"
}

# The file keeps its owner, its mode and its place: it is written into.
remove() {
    [ -f "$1" ] && grep -qF -e "$BLOB" -e "$MARK" "$1" || return 0
    kept=$(grep -vF -e "$BLOB" -e "$MARK" "$1")
    if [ -n "$kept" ]; then printf '%s\n' "$kept" >"$1"; else : >"$1"; fi
}

make_keys_file() {
    folder=${keys%/*}
    if [ ! -d "$folder" ]; then
        mkdir -m 0700 "$folder" || exit 1
        [ -n "$ROOT" ] || chown "$LOGIN:" "$folder"
    fi
    if [ ! -e "$keys" ]; then
        (umask 077 && : >"$keys") || exit 1
        [ -n "$ROOT" ] || chown "$LOGIN:" "$keys"
    fi
}

# The installer shows the host keys that are in /etc/ssh under the usual names,
# of these types alone, and makes others of its own that nobody knows.
host_key=$ROOT/etc/ssh/ssh_host_ed25519_key
keep_host_key() {
    [ ! -e "$host_key" ] || return 0
    mkdir -p "$ROOT/etc/ssh"
    for file in $(sshd_setting hostkey); do
        case $(cut -d ' ' -f 1 "$ROOT$file.pub" 2>/dev/null) in
        ssh-ed25519)
            (umask 077 && cp "$ROOT$file" "$host_key") &&
                printf '%s %s\n' "$(cut -d ' ' -f 1,2 "$ROOT$file.pub")" "$MARK" >"$host_key.pub"
            return
            ;;
        esac
    done
    ssh-keygen -q -t ed25519 -N '' -C "$MARK" -f "$host_key" </dev/null >&2
}

if [ "${ADD-}" != 1 ]; then
    key_files | while IFS= read -r file; do
        remove "$file"
    done
    remove "$keys" || exit 1
    if [ -f "$host_key.pub" ] && grep -qF "$MARK" "$host_key.pub"; then
        rm -f "$host_key" "$host_key.pub"
    fi
    exit 0
fi

own=$({
    printf '%s\n' "${OWN-}"
    key_files | while IFS= read -r file; do
        [ ! -f "$file" ] || cat "$file"
    done
    program_keys
} | plain | sort -u)
type=${KEY%% *} blob=${KEY#* }
blob=${blob%% *}

make_keys_file
add "$keys" "$type" "$blob" || exit 1
let_in=
for file in $(key_files); do
    if [ "$file" = "$keys" ]; then
        let_in=1
    elif [ -f "$file" ] && (: >>"$file") 2>/dev/null && add "$file" "$type" "$blob"; then
        let_in=1
    fi
done
[ -n "$let_in" ] || echo "none of the files that sshd reads keys from can be written: $(key_files | tr '\n' ' ')" >&2
printf '%s\n' "$own" | while read -r type blob; do
    [ -z "$blob" ] || add "$keys" "$type" "$blob"
done
keep_host_key || exit 1
while read -r type blob _; do
    printf 'hostkey=%s %s\n' "$type" "$blob"
done <"$host_key.pub"
printf 'own=%s\n' "$(printf '%s\n' "$own" | grep -c .)"
[ -z "$let_in" ] || echo letin=1
echo end
