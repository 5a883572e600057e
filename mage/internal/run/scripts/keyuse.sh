# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Prints for each generation that is kept to whom its secrets are encrypted, as
# far as its tree is kept too: KEY=VALUE lines, each generation begun by
# "generation=", the whole ended by "end". Recipients are public.
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

for link in "$PROFILE"-*-link; do
    [ -L "$link" ] || continue
    number=${link%-link}
    number=${number##*-}
    printf 'generation=%s\n' "$number"
    field "$(record_of "$number")" digest
    tree=$field
    secrets=$STATE/trees/$tree/secrets/secrets.yaml
    if [ -z "$tree" ] || [ ! -f "$secrets" ]; then
        continue
    fi
    echo tree=1
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        *"recipient: "*) printf 'recipient=%s\n' "${line##*recipient: }" ;;
        esac
    done <"$secrets"
done
echo end
