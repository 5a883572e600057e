# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- after a deadline ----------------------------------------------------------

# watchdog WHICH: a deadline of this run has passed.
watchdog() {
    [ ! -s "$run/ended" ] || exit 0
    case $1 in
    switch) [ ! -e "$run/switched" ] || exit 0 ;;
    confirm) [ ! -e "$run/undoing" ] || exit 0 ;;
    esac
    if decide rollback; then
        : >"$run/undoing"
        stop_supervisor
        lock 30 || exit 1
        [ ! -s "$run/ended" ] || exit 0
        rm -f "$run/reserve"
        case $1 in
        switch) restore reason=hung "message=the switch did not end within $switchtimeout s" ;;
        confirm) restore reason=unconfirmed "message=nobody confirmed the new system within $confirm s" ;;
        *) restore "$(cat "$run/reason")" ;;
        esac
    fi
    # Decided: commit. Whoever does it holds the lock; if it dies, we finish.
    lock "$switchtimeout" || exit 1
    [ -s "$run/ended" ] || resume
}

stop_supervisor() {
    if systemd; then
        systemctl kill --signal=KILL "vps-run-$id.service" 2>/dev/null
    elif [ -s "$run/pid" ]; then
        kill -KILL "-$(cat "$run/pid")" 2>/dev/null
    fi
}

# --- after a crash -------------------------------------------------------------------

# resume decides, under the lock, a run whose supervisor died.
resume() {
    # A power cut leaves half a line, or a hole; what is told next is not part of it.
    echo >>"$run/status"
    # The record is the last step of a commit: it is done, and only nobody said so.
    field "$STATE/record" id
    [ "$field" != "$id" ] || {
        sync
        finish_committed
    }
    field "$STATE/intent" id
    if [ "$field" = "$id" ]; then
        if running "$new"; then
            advance && finish_committed
            undo_commit reason=crash "message=an interrupted commit could not be finished"
        fi
        retreat || exit 1
        finish rolledback reason=crash "message=the server stopped while committing"
    fi
    if [ ! -e "$run/armed" ]; then
        finish failed reason=crash "message=the supervisor died before it changed anything"
    elif [ ! -e "$ROOT/run/vps-armed-$id" ]; then
        finish rolledback reason=crash "message=the server restarted before the new system was confirmed"
    fi
    rm -f "$run/decision"
    decide rollback
    restore reason=crash "message=the supervisor died before the new system was confirmed"
}

# settle_others ends every run that a crash left open. Each in a process of its
# own, because ending a run ends the process; the lock stays ours.
settle_others() {
    intended
    unfinished=$intended
    for dir in "$STATE"/runs/*; do
        [ -e "$dir/held" ] || continue
        [ ! -s "$dir/ended" ] || [ "$unfinished" = "${dir##*/}" ] || continue
        [ "${dir##*/}" != "${1-}" ] || continue
        (
            load "${dir##*/}"
            exec >>"$run/log" 2>&1
            resume
        ) || return 1
        # One that is stuck still needs what the next run would clear away.
        intended
        [ "$intended" != "${dir##*/}" ] || return 1
    done
}

# --- housekeeping --------------------------------------------------------------------

# The last ten runs stay, and of the trees those that a generation needs.
tidy() {
    count=0
    for dir in "$STATE"/runs/*; do count=$((count + 1)); done
    for dir in "$STATE"/runs/*; do
        [ "$count" -gt 10 ] || break
        count=$((count - 1))
        # Somebody may still be reading, or about to start, a young one.
        [ -z "$(find "$dir" -prune -mmin +15)" ] || alive "${dir##*/}" || rm -rf "$dir"
    done
    # Removed with their runs; a power cut may have brought one back.
    for root in "$ROOT"/nix/var/nix/gcroots/vps-*; do
        [ ! -L "$root" ] || rm -f "$root"
    done
    for file in "$STATE"/generations/*; do
        [ -f "$file" ] && [ ! -L "$PROFILE-${file##*/}-link" ] && rm -f "$file"
    done
    field "$STATE/record" digest
    needed="$want $field"
    for file in "$STATE"/generations/*; do
        field "$file" digest
        needed="$needed $field"
    done
    for tree in "$STATE"/trees/*; do
        case " $needed " in
        *" ${tree##*/} "*) ;;
        *) [ ! -d "$tree" ] || rm -rf "$tree" ;;
        esac
    done
}
