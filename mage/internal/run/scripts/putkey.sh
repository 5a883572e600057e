# shellcheck shell=sh
# shellcheck disable=SC2153,SC2154 # lib.sh and the variables of its caller go before it
# Replaces the server's age key file FILE by KEY, whose SHA-256 is SHA256, below
# those of its identities whose SHA-256 is one of KEEP: whole or not at all. All of it is this script, which comes on standard input, so that the
# key is in no argument, no environment and no log: printf is the shell's own. Prints
# "put=1", or why not.
# shellcheck disable=SC2154 # FILE, KEY, SHA256 and KEEP go before it
set -u
umask 077
PATH=${VPS_ROOT-}/run/current-system/sw/bin:$PATH
file=${VPS_ROOT-}$FILE
dir=${file%/*}
new=$dir/.vps-key-$$

fail() {
    rm -f "$new"
    printf 'failed=%s\n' "$*"
    exit 0
}

if [ -L "$file" ] || [ -d "$file" ]; then
    fail "$FILE is not a plain file"
fi
# A folder of some other purpose keeps its mode; sops-nix's own is for root only.
case $dir in
*/sops-nix) mkdir -p "$dir" && chmod 700 "$dir" ;;
*) mkdir -p "$dir" ;;
esac || fail "cannot make ${FILE%/*}"
rm -f "$dir"/.vps-key-*
trap 'rm -f "$new"; exit 1' HUP INT TERM
printf '%s' "$KEY" >"$new" || fail "cannot write to ${FILE%/*}: is the disk full?"
hash=$(sha256sum <"$new")
[ "${hash%% *}" = "$SHA256" ] || fail "the key did not arrive whole"
# kept prints the identities that stay.
kept() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in AGE-SECRET-KEY-*) ;; *) continue ;; esac
        hash=$(printf '%s' "$line" | sha256sum)
        case " $KEEP " in *" ${hash%% *} "*) printf '%s\n' "$line" ;; esac
    done
}
if [ -n "$KEEP" ]; then
    {
        [ ! -f "$file" ] || kept <"$file"
        printf '%s' "$KEY"
    } >"$new" || fail "cannot write to ${FILE%/*}: is the disk full?"
    for hash in $KEEP; do
        found=$(KEEP=$hash && kept <"$new")
        [ -n "$found" ] || fail "the age keys in $FILE were changed meanwhile"
    done
fi
sync
mv -f "$new" "$file" || fail "cannot replace $FILE"
sync
echo put=1
