# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it
# Notes which commit the deployed tree is, when a commit changed and the tree did not:
# amended, squashed, or one that touches other files only.

# note DIGEST COMMIT DIRTY WHO FROM prints "noted=1", or nothing where another run is
# under way or another tree is there by now: that one's record is right.
note() (
    exec 9>>"$STATE/lock"
    flock -w 2 9 || exit 0
    field "$STATE/record" digest
    [ "$field" = "$1" ] && [ ! -e "$STATE/intent" ] || exit 0
    field "$STATE/record" generation
    renote "$STATE/record" "$@" || exit 0
    [ ! -f "$STATE/generations/$field" ] || renote "$STATE/generations/$field" "$@"
    echo noted=1
)

# renote FILE DIGEST COMMIT DIRTY WHO FROM exchanges what a record says of the commit.
renote() {
    {
        while IFS= read -r line; do
            case $line in
            commit=* | dirty=* | who=* | from=*) ;;
            *) printf '%s\n' "$line" ;;
            esac
        done <"$1"
        printf 'commit=%s\ndirty=%s\nwho=%s\nfrom=%s\n' "${3#-}" "${4#-}" "$5" "$6"
    } >"$1.note" && sync && mv "$1.note" "$1" && sync
}
