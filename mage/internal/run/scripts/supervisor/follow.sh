# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- what the laptop calls ----------------------------------------------------

# follow shows status lines and log until its input ends, and "gone" when the
# supervisor has died. tail alone would outlive the login. A line "cancel REASON" of
# its input makes a run that waits to be confirmed roll back, so that a laptop needs
# no second session for it.
follow() {
    tail -n +1 -f "$run/status" 2>/dev/null &
    tails=$!
    # After a mark: a login's shell or sudo may have written there before us.
    printf '\n--- log of the run\n' >&2
    tail -c "+$(($1 + 1))" -f "$run/log" >&2 2>/dev/null &
    tails="$tails $!"
    (
        # Without our output: killing this shell leaves flock behind, and a login
        # does not end while somebody holds its output.
        await_supervisor && flock -s 7 7<"$run/alive" >/dev/null 2>&1
        # The end is in the status already; "gone" could overtake it. Unless it died
        # between the two: nobody else would ever add it.
        if [ -s "$run/ended" ]; then
            lastline "$run/status"
            case $lastline in
            [0-9]*" end result="*) ;;
            *) cat "$run/ended" >>"$run/status" ;;
            esac
            exit 0
        fi
        ! orphaned || recover_apart >/dev/null 2>&1
        # This may overtake the last status lines, so it says itself how far it came.
        if [ -e "$run/armed" ] || [ -e "$run/decision" ]; then
            echo "$(date +%s) gone armed=1"
        else
            why=$(tail -n 1 "$run/log")
            echo "$(date +%s) gone message=$why"
        fi
    ) 2>/dev/null &
    while read -r word reason; do
        [ "$word" != cancel ] || cancel "$reason"
    done
    # shellcheck disable=SC2086 # a list
    kill $tails "$!" 2>/dev/null
}

# cancel REASON
cancel() {
    printf '%s\n' "$1" >"$run/rejected.cancel"
    mv "$run/rejected.cancel" "$run/rejected"
    ring
}

# orphaned: no deadline acts for the dead supervisor. The server was restarted
# since, or none was set.
orphaned() { [ "$confirm" = 0 ] || [ ! -e "$ROOT/run/vps-armed-$id" ]; }

# recover_apart decides what the dead supervisor left, in a unit that outlives
# the login: whoever follows the run would wait for its end for ever.
recover_apart() {
    resolve "$ROOT/run/current-system"
    path=$resolved/sw/bin
    if systemd; then
        systemd-run --quiet --collect --unit="vps-recover-$id" \
            --description="vps: decide run $id" --property=OOMPolicy=continue \
            --setenv=PATH="$path" --setenv=HOME="$ROOT/root" --setenv=VPS_ROOT="$ROOT" \
            /bin/sh "$run/supervisor.sh" recover
    else
        PATH=$path HOME=$ROOT/root VPS_ROOT=$ROOT setsid \
            /bin/sh "$run/supervisor.sh" recover </dev/null &
    fi
}

# await_supervisor waits until the run has begun. One that has not after ten
# seconds never shall: what looked like its end must stay its end.
await_supervisor() {
    tries=0
    until [ -e "$run/pid" ]; do
        if [ "$tries" = 10 ]; then
            : >"$run/forgotten"
            [ -e "$run/pid" ]
            return
        fi
        tries=$((tries + 1))
        sleep 1
    done
}

# A login's PATH is whatever its shell made of it; a unit of ours has its own.
case ${1-} in
follow | probe | cancel) PATH=$ROOT/run/current-system/sw/bin:$PATH ;;
esac

case ${1-} in
run)
    load "$2"
    perform
    ;;
watchdog)
    load "$2"
    exec >>"$run/log" 2>&1 </dev/null
    watchdog "$3"
    ;;
sleeper)
    load "$2"
    echo $$ >"$run/sleeper.$3"
    sleep "$4"
    rm -f "$run/sleeper.$3"
    exec >>"$run/log" 2>&1 </dev/null
    watchdog "$3"
    ;;
follow)
    load "$2"
    follow "$3"
    ;;
probe)
    load "$2"
    shift 2
    probe "$@"
    ;;
cancel)
    load "$2"
    cancel "$3"
    ;;
recover)
    lock 0 || exit 0
    settle_others
    ;;
*)
    echo "usage: supervisor.sh run|watchdog|follow|probe|cancel|recover" >&2
    exit 2
    ;;
esac
