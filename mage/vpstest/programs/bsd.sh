#!/bin/sh
# Makes a GNU program as narrow as its BSD relative: for tests, on Linux, of what
# the scripts may ask for on macOS.
name=${0##*/}

refuse() {
    echo "$name: illegal option -- $1" >&2
    exit 64
}

for word in "$@"; do
    case $name:$word in
    find:-printf | find:-executable | find:-regextype | find:-readable) refuse "$word" ;;
    *:--) break ;;
    *:--*) refuse "$word" ;;
    mv:-*T* | cp:-*[Tt]* | ln:-*[Trt]* | df:-*[BT]* | sort:-*[zVh]*) refuse "$word" ;;
    esac
done
case $name in
stat)
    # BSD's knows no -c; of its -f formats the scripts use one.
    [ "${1-} ${2-}" = "-f %m" ] || refuse "${1-}"
    exec @PROGRAM@ -c %Y "$3"
    ;;
wc) @PROGRAM@ "$@" | while IFS= read -r line; do echo "       $line"; done ;;
*) exec @PROGRAM@ "$@" ;;
esac
