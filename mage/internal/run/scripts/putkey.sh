# shellcheck shell=sh
# Replaces the server's age key file $1 by what comes on standard input, whose
# SHA-256 is $2: whole or not at all. Only this script travels in the command
# line, so that the key is in no argument, no environment and no log. Prints
# "put=1", or why not.
set -u
umask 077
PATH=${VPS_ROOT-}/run/current-system/sw/bin:$PATH
file=${VPS_ROOT-}$1
dir=${file%/*}
new=$dir/.vps-key-$$

fail() {
    rm -f "$new"
    printf 'failed=%s\n' "$*"
    exit 0
}

if [ -L "$file" ] || [ -d "$file" ]; then
    fail "$1 is not a plain file"
fi
# A folder of some other purpose keeps its mode; sops-nix's own is for root only.
case $dir in
*/sops-nix) mkdir -p "$dir" && chmod 700 "$dir" ;;
*) mkdir -p "$dir" ;;
esac || fail "cannot make ${1%/*}"
rm -f "$dir"/.vps-key-*
trap 'rm -f "$new"; exit 1' HUP INT TERM
cat >"$new" || fail "cannot write to ${1%/*}: is the disk full?"
hash=$(sha256sum <"$new")
[ "${hash%% *}" = "$2" ] || fail "the key did not arrive whole"
sync
mv -f "$new" "$file" || fail "cannot replace $1"
sync
echo put=1
