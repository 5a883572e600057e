# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Prints for each generation that is kept which sops files its tree has and to
# whom each is encrypted, as far as the tree is kept too: KEY=VALUE lines, each
# generation begun by "generation=", each file by "file=", the whole ended by
# "end". "uses=" is a file that the generation's own facts name. Recipients are
# public.
PATH=$ROOT/run/current-system/sw/bin:$PATH

# record_of NUMBER prints the record of the commit whose tree a generation was
# built from. One without a record was made by the server itself, from the tree
# of the last commit before it.
record_of() {
    number=$1
    while [ "$number" -gt 0 ]; do
        if [ -f "$STATE/generations/$number" ]; then
            printf '%s\n' "$STATE/generations/$number"
            return
        fi
        number=$((number - 1))
    done
}

# sealed DIR lists the files below it that sops encrypted to age recipients.
sealed() {
    cd "$1" && find . -type f -size -32768k -exec grep -lF 'BEGIN AGE ENCRYPTED FILE' {} +
}

command -v grep >/dev/null || exit 1
for link in "$PROFILE"-*-link; do
    [ -L "$link" ] || continue
    number=${link%-link}
    number=${number##*-}
    printf 'generation=%s\n' "$number"
    facts=$link/etc/vps/facts.json
    [ ! -f "$facts" ] || head -c 262144 "$facts" | sed 's/"file":"/\n&/g' | sed -n 's/^"file":"\([^"]*\)".*/uses=\1/p' | sort -u
    field "$(record_of "$number")" digest
    tree=$STATE/trees/$field
    if [ -z "$field" ] || [ ! -d "$tree" ]; then
        continue
    fi
    echo tree=1
    (sealed "$tree") | while IFS= read -r name; do
        printf 'file=%s\n' "${name#./}"
        grep -oE 'age1[0-9a-z]{50,}' "$tree/$name" | sort -u | sed 's/^/recipient=/'
    done
done
echo end
