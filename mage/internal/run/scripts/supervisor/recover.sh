# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- rolling back ------------------------------------------------------------------

roll_back() {
    if ! decide rollback; then
        # The other one commits; its end is the run's end.
        exit 0
    fi
    rm -f "$run/reserve"
    printf '%s' "$*" >"$run/reason"
    [ "$confirm" = 0 ] || arm undo "$switchtimeout"
    : >"$run/undoing"
    disarm switch confirm
    restore "$@"
}

# restore makes the exact previous system the running one and ends the run. The
# boot default was never touched, so when even that fails a reboot is the way
# back: better than a server that nobody can reach.
restore() {
    phase rolling-back "system=$old" "$@"
    going_back=1
    for attempt in 1 2 3; do
        [ -z "${returned-}" ] || finish rolledback "$@"
        patiently "$old" test
        code=$?
        if running "$old"; then
            case $code in
            0) finish rolledback "$@" ;;
            # Cut off by its time limit. Once more would be as long.
            124 | 137) finish rolledback degraded=1 "$@" ;;
            # It has switched to the end; what fails in it is known from now on.
            2 | 4)
                failing=$(snippets)
                field "$STATE/snippets" system
                [ "$field" = "$old" ] && ! worse_than_before || degraded=${failing:+degraded=1}
                keep_snippets "$old" "$failing"
                finish rolledback "${degraded-}" "$@"
                ;;
            esac
        fi
        phase rolling-back "attempt=$attempt" "code=$code" "message=switching back failed with $code"
        sleep 1
    done
    ! running "$old" || finish rolledback "degraded=1" "$@"
    phase rebooting
    now
    echo "$now end result=rebooted log=$(($(wc -c <"$run/log"))) $*" >"$run/ended"
    cat "$run/ended" >>"$run/status"
    sync
    systemctl reboot
    exit 0
}

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
        finish failed reason=crash "message=the supervisor died before it changed anything$(last_words)"
    elif [ ! -e "$ROOT/run/vps-armed-$id" ]; then
        finish rolledback reason=crash "message=the server restarted before the new system was confirmed"
    fi
    rm -f "$run/decision"
    decide rollback
    restore reason=crash "message=the supervisor died before the new system was confirmed"
}

# last_words prints what the log of the dead supervisor ends with.
last_words() {
    why=$(tail -n 1 "$run/log" 2>/dev/null)
    printf '%s' "${why:+: $why}"
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

# --- what is kept ------------------------------------------------------------------

# Generations that the server made by itself since the last commit (its nightly
# upgrade) were built from the tree of that commit.
backfill() {
    [ -f "$STATE/record" ] || return 0
    [ -d "$STATE/generations" ] || mkdir "$STATE/generations"
    field "$STATE/record" generation
    for link in "$PROFILE"-*-link; do
        number=${link%-link}
        number=${number##*-}
        [ -s "$STATE/generations/$number" ] || [ "$number" = "$made" ] ||
            [ "$number" -le "$field" ] ||
            copy "$STATE/record" "$STATE/generations/$number"
    done
}

# keep_foreign keeps what was in /etc/nixos aside, if it is not a tree of ours: it was
# none from the start, or somebody has edited it since.
keep_foreign() {
    [ -d "$staged" ] || return 0
    field "$STATE/record" digest
    if [ "$base" = "$field" ] || [ -d "$STATE/trees/$base" ]; then
        ! unedited || return 0
        digest "$staged" # a changed mode or owner is no edit
        [ "$digest" != "$base" ] || return 0
    fi
    [ -n "$(find "$staged" -mindepth 1 | head -n 1)" ] || return 0
    if remove "$STATE/kept/.new" && mkdir -p "$STATE/kept" && cp -a "$staged" "$STATE/kept/.new" &&
        remove "$STATE/kept/$id" && mv "$STATE/kept/.new" "$STATE/kept/$id"; then
        return 0
    fi
    remove "$STATE/kept/.new" # else a full disk stays full
    return 1
}

# unedited says whether nobody has changed what was exchanged since its digest was
# taken. The exchange itself changes the folder's own ctime.
unedited() {
    edited=$(find "$staged" -newer "$staged.seen" -o -path "$staged/*" -cnewer "$staged.seen") && [ -z "$edited" ]
}

# kept sets $kept to where they are, or to nothing.
kept() {
    kept=
    [ ! -d "$STATE/kept/$id" ] || kept=kept=/var/lib/vps/kept/$id
}

# --- housekeeping --------------------------------------------------------------------

# The last ten runs stay, and of the trees those that a generation needs. The names of
# runs tell the time of the laptops that began them, which is anything.
tidy() {
    count=0
    for dir in "$STATE"/runs/*; do count=$((count + 1)); done
    # shellcheck disable=SC2045 # names of runs are plain words
    [ "$count" -le 10 ] || for dir in $(ls -1tr "$STATE/runs"); do
        [ "$count" -gt 10 ] || break
        count=$((count - 1))
        case $dir in '' | *[!A-Za-z0-9-]*) continue ;; esac
        # Somebody may still be reading, or about to start, a young one.
        [ -z "$(find "$STATE/runs/$dir" -prune -mmin +15)" ] || alive "$dir" || remove "$STATE/runs/$dir"
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
        *) remove "$tree" ;;
        esac
    done
}
