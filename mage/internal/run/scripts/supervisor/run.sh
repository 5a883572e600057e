# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# The supervisor: performs one run on a server, and guards it.
#
#   supervisor.sh run ID             perform the run (in a unit of its own)
#   supervisor.sh watchdog ID WHICH  a deadline has passed: roll back
#   supervisor.sh follow ID OFFSET   show the run's status lines as they come, and
#                                    on stderr its log from a byte on, as it grows
#   supervisor.sh probe ID SETTLE    look at the new system; wait for a verdict
#   supervisor.sh cancel ID REASON   make a run that waits roll back
#   supervisor.sh recover            decide a commit that a crash interrupted
#
# What a run leaves under $STATE/runs/ID, and who reads it:
#   request delete secrets tree/            what the laptop sent, beside supervisor.sh
#   status log                              what happened; the last status is "end"
#   alive pid                               locked while the supervisor lives; its number
#   held armed switched undoing             how far it came
#   decision                                "commit" or "rollback", made once
#   confirmed rejected                      the laptop's verdict
#   ended                                   the last line of status; empty after some power cuts
#
# Nothing persistent changes before the decision to commit, and from there on an
# intent record says how to finish or undo, whoever gets to do it.

load() {
    case $1 in
    '' | *[!a-zA-Z0-9-]*)
        echo "bad run name" >&2
        exit 2
        ;;
    esac
    id=$1
    run=$STATE/runs/$id
    staged=$ROOT/etc/.nixos-vps-$id
    bell=$ROOT/run/vps-bell-$id
    [ -f "$run/request" ] || {
        echo "no run $id" >&2
        exit 2
    }
    kind='' action='' want='' base='' confirm='' switchtimeout=''
    while IFS= read -r line; do
        value=${line#*=}
        case $line in
        kind=*) kind=$value ;;
        action=*) action=$value ;;
        digest=*) want=$value ;;
        base=*) base=$value ;;
        confirm=*) confirm=$value ;;
        switchtimeout=*) switchtimeout=$value ;;
        esac
    done <"$run/request"
    old='' boot='' bootgeneration=''
    [ ! -f "$run/request.old" ] || while IFS= read -r line; do
        value=${line#*=}
        case $line in
        system=*) old=$value ;;
        boot=*) boot=$value ;;
        generation=*) bootgeneration=$value ;;
        esac
    done <"$run/request.old"
    field "$run/request.new" system
    new=$field
}

# --- telling -----------------------------------------------------------------

# phase NAME [KEY=VALUE...] [message=TEXT]. The line goes into the log, too, so that
# whoever reads both can tell what came before what.
phase() {
    now
    { printf -- '--- %s %s\n' "$now" "$*" && printf '%s %s\n' "$now" "$*" >>"$run/status"; } ||
        [ -e "$run/armed" ] || unwritten "$run"
}

# unwritten PATH ends a run that could not write: it must not switch, because what it
# would be undone by may be missing. A full disk is named.
unwritten() {
    full "$1" "$run"
    rm -f "$run/reserve"
    echo >>"$run/status" # half a line may stand there
    [ -z "$full" ] || finish failed reason=full "message=$full"
    finish failed "message=could not write to ${1#"$ROOT"}"
}

# broken_off WHAT ends a run at something that failed, for the reason that the log
# ends with, unless the disk is full.
broken_off() {
    why=$(tail -n 1 "$run/log")
    full "$run" "$ROOT/etc"
    [ -z "$full" ] || finish failed reason=full "message=$1: $full"
    finish failed "message=$1: $why"
}

# finish RESULT [KEY=VALUE...] [message=TEXT] ends the run. The lock is let go
# before anybody can read the end: who reads it may start the next run at once.
finish() {
    spent=$staged intent=$bell
    field "$STATE/intent" id
    if [ "$field" = "$id" ]; then
        intended
        case $intended in
        none) intent=$STATE/intent ;; # recorded, and so done
        *) spent=$bell ;;             # the staged folder may hold the only copy of a tree
        esac
    fi
    remove "$run/reserve" "$bell" "$spent" "$spent.stamp" "$spent.seen" "$intent" "$run/tree" "$run/result" "$ROOT/nix/var/nix/gcroots/vps-$id"
    now
    line="$now end result=$1 log=$(($(wc -c <"$run/log")))"
    shift
    printf '%s\n' "$line $*" >"$run/ended.new"
    mv "$run/ended.new" "$run/ended"
    disarm switch confirm undo
    exec 9>&-
    printf '%s\n' "$line $*" >>"$run/status"
    exit 0
}

# --- the server's lock ---------------------------------------------------------

lock() {
    exec 9>>"$STATE/lock"
    flock -w "$1" 9
}

# instead is apart in place of the shell, at the end of a subshell of its own.
instead() { exec "$@" 7>&- 8>&- 9>&-; }

# busy names whoever holds the server. Who has just taken the lock says so a
# moment later.
busy() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        field "$STATE/holder" id
        holder=$field
        if [ -n "$holder" ] && alive "$holder"; then
            finish busy "holder=$holder" "message=$(held who) holds the server from $(held from) \
since $(held since) ($(held action) of tree $(printf '%.12s' "$(held digest)"), \
commit $(printf '%.12s' "$(held commit)"))"
        fi
        sleep 0.2
    done
    finish busy "message=another program holds /var/lib/vps/lock"
}

# held KEY prints what the holder of the server says of itself.
held() {
    field "$STATE/holder" "$1"
    echo "$field"
}

# requested KEY... sets $requested to these lines of the request.
requested() {
    requested=
    while IFS= read -r line; do
        for key in "$@"; do
            [ "${line%%=*}" != "$key" ] || requested=$requested$line$newline
        done
    done <"$run/request"
}

# announce says at once who holds the server: whoever reads it sees all or nothing.
announce() {
    requested id who from since digest commit action kind generation confirm switchtimeout
    printf '%s' "$requested" >"$STATE/holder"
}

# --- the run as a whole ----------------------------------------------------------

perform() {
    exec >>"$run/log" 2>&1 </dev/null
    exec 8>"$run/alive"
    flock 8
    # Only now: who finds this, and alive unlocked, takes us for dead.
    echo $$ >"$run/pid" || unwritten "$run"
    cd "$run" || exit 1
    [ ! -e "$run/forgotten" ] || finish failed "message=the run began too late"
    resolve "$ROOT/run/current-system"
    lacks=$(lacking "$resolved")
    # Going back builds nothing, and may be what brings it back.
    [ "$kind" != rollback ] || [ "$lacks" != lacks=nixos-rebuild ] || lacks=
    # shellcheck disable=SC2086 # words
    [ -z "$lacks" ] || finish failed reason=lacking "message=the server's system lacks what a run needs:" $lacks
    lock 0.2 || busy
    { : >"$run/held" && announce; } || unwritten "$STATE"
    ! upgrading || finish busy reason=upgrade "message=$service is running"
    ! closing || finish busy reason=shutdown "message=a $field of the server is scheduled: shutdown -c on the server cancels it"
    settle_others "$id" ||
        finish failed reason=stuck "message=an interrupted run could not be finished or undone: see /var/lib/vps/runs"
    printf '%262144s' '' >"$run/reserve" || unwritten "$run"
    remember_old
    tidy
    stage
    build
    [ "$action" != build ] || finish built "system=$new"
    switchable
    case $action in
    dry)
        activate "$new" dry-activate || finish failed "message=dry-activate failed"
        finish dry "system=$new"
        ;;
    boot)
        boot_space
        commit
        ;;
    esac
    ! unchanged || commit
    boot_space
    inhibited
    switch
    await
    if [ "$action" = test ]; then
        decide commit || exit 0
        finish tested "system=$new"
    fi
    commit
}

# upgrading says whether the server's own upgrade, or a nixos-rebuild, is at work.
upgrading() {
    systemd || return
    working=$(apart systemctl list-units --all --plain --no-legend --no-pager \
        --state=active,activating,reloading,deactivating \
        nixos-upgrade.service nixos-rebuild-switch-to-configuration.service 2>/dev/null) || return
    service=${working%% *}
    case $service in
    nixos-upgrade.service | nixos-rebuild-switch-to-configuration.service) ;;
    *) return 1 ;;
    esac
}

# closing says whether systemd has been told to turn the server off or to restart it,
# as a nightly upgrade does a minute before. It sets $field to which.
closing() {
    field "$ROOT/run/systemd/shutdown/scheduled" MODE
    case $field in
    '') return 1 ;;
    *[!a-z-]*) field=shutdown ;;
    esac
}
