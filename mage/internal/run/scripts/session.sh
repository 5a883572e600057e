# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh and the functions that it calls go before it
# The one shell that a run needs on a server. It has printed the facts by now; what
# else is wanted comes as orders, a line each, so that no second session is opened
# and nothing but "/bin/sh -s" is for the login's shell to understand. It ends with
# its input.
#
#   generations             print the generations
#   file PATH               print a file of /etc/nixos, a line each after "f=", or
#                           after "p=" what has no line's end; then "end"
#   record DIGEST COMMIT DIRTY WHO FROM
#                           note the commit that the deployed tree is
#   start ID SIZE SHA256    start a run from the bytes that follow; then show it
#   follow ID OFFSET        show a run
print_file() {
    [ ! -f "$1" ] || while IFS= read -r line || {
        [ -z "$line" ] || printf 'p=%s\n' "$line"
        false
    }; do
        printf 'f=%s\n' "$line"
    done <"$1"
    echo end
}

while IFS= read -r order; do
    set -f
    # shellcheck disable=SC2086 # words
    set -- $order
    set +f
    case ${1-} in
    generations) generations ;;
    file) print_file "$NIXOS/${order#file }" ;;
    record) note "$2" "$3" "$4" "$5" "$6" ;;
    start | follow)
        offset=0
        if [ "$1" = start ]; then
            start "$2" "$3" "$4"
        else
            offset=$3
        fi
        set -- follow "$2" "$offset"
        # shellcheck disable=SC1090 # it came with the run
        . "$STATE/runs/$2/supervisor.sh"
        exit
        ;;
    esac
done
