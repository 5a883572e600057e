# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it
# generations prints the generations of the system profile and what is known of each
# as KEY=VALUE lines, each begun by "generation=", the whole ended by "end".
generations() (
    PATH=$ROOT/run/current-system/sw/bin:$PATH
    field "$STATE/record" generation
    committed=$field
    for link in "$PROFILE"-*-link; do
        [ -L "$link" ] || continue
        number=${link%-link}
        number=${number##*-}
        system=$(readlink -f "$link")
        version=
        [ ! -f "$system/nixos-version" ] || IFS= read -r version <"$system/nixos-version"
        printf 'generation=%s\nsystem=%s\nversion=%s\n' "$number" "$system" "$version"
        printf 'made=%s\n' "$(stat -c %Y "$link" 2>/dev/null || stat -f %m "$link")"
        record=$STATE/generations/$number
        if [ ! -s "$record" ] && [ -f "$STATE/record" ] &&
            [ "$number" -gt "$committed" ]; then
            # Made by the server itself since the last commit, from that tree.
            record=$STATE/record
            echo upgraded=1
        fi
        [ ! -f "$record" ] || while IFS= read -r line; do
            case $line in
            generation=* | system=*) ;;
            *) printf 'record.%s\n' "$line" ;;
            esac
        done <"$record"
        field "$record" digest
        tree=$field
        [ -z "$tree" ] || [ ! -d "$STATE/trees/$tree" ] || echo tree=1
    done
    generation
    printf 'profile=%s\n' "$generation"
    printf 'current=%s\n' "$(readlink -f "$ROOT/run/current-system")"
    printf 'booted=%s\n' "$(readlink -f "$ROOT/run/booted-system")"
    echo end
)
