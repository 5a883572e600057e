#!/bin/sh
# Stands for every played program: passes the call on to the process that plays
# this server, prints what that answers, waits if it says so, and exits as told.
place=@CONTROL@/$$
@MKDIR@ "$place" 2>/dev/null || {
    @RM@ -rf "$place"
    @MKDIR@ "$place" || exit 125
}
@MKFIFO@ "$place/reply" || exit 125
printf '%s\000' "${0##*/}" "$PWD" "${HOME-}" "${XDG_RUNTIME_DIR-}" "${SUDO_USER-}" \
    "${NIXOS_INSTALL_BOOTLOADER-}" "${LOCALE_ARCHIVE-}" "${NIXOS_NO_CHECK-}" "$@" >"$place/call"
# Read and write, so that opening does not wait; the second to read from.
# shellcheck disable=SC2094 # a named pipe
exec 3<>"$place/reply" 4<"$place/reply"
# Nothing is left waiting when that process has died: it is looked for now, and
# once it has greeted, its death is the end of what is read.
kill -0 @PID@ 2>/dev/null || exit 125
# One that is dying, or whose parent does not know yet, still takes signals, but has
# no files any more.
if [ -r /proc/@PID@/stat ]; then
    set -- /proc/@PID@/fd/*
    [ -h "$1" ] || exit 125
fi
echo $$ 1<>@CONTROL@/requests
read -r _ <&4
exec 3>&-
read -r code wait <&4 || exit 125
exec 4<&-
[ ! -s "$place/out" ] || @CAT@ "$place/out"
[ ! -s "$place/err" ] || @CAT@ "$place/err" >&2
@RM@ -rf "$place"
[ -z "$wait" ] || @SLEEP@ "$wait"
exit "$code"
