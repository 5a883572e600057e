# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- activating ------------------------------------------------------------------

# activate SYSTEM ACTION [LIMIT] runs a system's own switch with the environment
# that nixos-rebuild gives it.
activate() (activation "$@")

# activation is activate in place of the shell, at the end of a subshell of its own.
activation() {
    cd / || exit
    export NIXOS_INSTALL_BOOTLOADER=0
    export LOCALE_ARCHIVE="$1/sw/lib/locale/locale-archive"
    [ -e "$LOCALE_ARCHIVE" ] || unset LOCALE_ARCHIVE
    if [ -n "${3-}" ]; then
        instead timeout -k 5 "$3" "$1/bin/switch-to-configuration" "$2"
    else
        instead "$1/bin/switch-to-configuration" "$2"
    fi
}

# arm WHICH SECONDS sets a deadline that does not depend on this process: a
# timer unit of its own, or a process of its own session without systemd.
arm() {
    if systemd; then
        apart systemd-run --quiet --collect --unit="vps-$1-$id" --on-active="$2s" \
            --description="vps: deadline ($1) of run $id" \
            --timer-property=AccuracySec=100ms --property=OOMPolicy=continue \
            --property=Restart=on-failure --property=RestartSec=1s \
            --setenv=PATH="$PATH" --setenv=HOME="$HOME" --setenv=VPS_ROOT="$ROOT" \
            /bin/sh "$run/supervisor.sh" watchdog "$id" "$1"
    else
        setsid /bin/sh "$run/supervisor.sh" sleeper "$id" "$1" "$2" \
            </dev/null >/dev/null 2>&1 8>&- 9>&- &
    fi
}

disarm() {
    if systemd; then
        for which in "$@"; do
            set -- "$@" "vps-$which-$id.timer"
            shift
        done
        systemctl stop "$@" 2>/dev/null
        return 0
    fi
    for which in "$@"; do
        if [ -s "$run/sleeper.$which" ]; then
            kill "$(cat "$run/sleeper.$which")" 2>/dev/null
            rm -f "$run/sleeper.$which"
        fi
    done
}

# inhibited asks the new system whether it can be switched to while the old one
# runs. Its answer is in its words: the exit code of a failed check is arbitrary.
inhibited() {
    answer=$(activation "$new" check 2>&1)
    printf '%s\n' "$answer"
    case $answer in
    *"re-switch check"*) finish failed reason=reboot "message=the new system cannot replace the running one without a reboot" ;;
    esac
}

switch() {
    troubled >"$run/troubled"
    # The boot default is kept anyway.
    [ "$old" = "$boot" ] || ln -sfn "$old" "$ROOT/nix/var/nix/gcroots/vps-$id"
    : >"$ROOT/run/vps-armed-$id"
    : >"$run/armed"
    sync
    [ "$confirm" = 0 ] || arm switch "$switchtimeout" ||
        finish failed "message=could not set the watchdog"
    phase switching "system=$new"
    echo "$mark"
    activate "$new" test
    code=$?
    if [ "$confirm" != 0 ]; then
        arm confirm "$confirm" || roll_back "message=could not set the watchdog"
    fi
    # Its deadline, should it still come, looks for this.
    : >"$run/switched"
    judge "$code"
}

# mark is where the words of a switch begin in the log.
mark='--- switch-to-configuration test'

# judge CODE: what a switch's exit code means. 4 is left to the comparison of
# units that the confirmation makes, but it also hides a failed activation, which
# only the output tells.
judge() {
    [ "$1" = 0 ] || judge_words "$1"
    case $1 in
    0) ;;
    4) phase switched code=4 "message=some units failed to start" ;;
    100) untouched code=100 reason=reboot ;;
    *) roll_back "code=$1" "message=switch-to-configuration failed with $1" ;;
    esac
    running "$new" ||
        roll_back "code=$1" "message=the switch ended without making the new system the current one"
}

judge_words() {
    case $(sed -n "/^$mark\$/,\$p" "$run/log") in
    *"re-switch checks failed"* | *"Could not acquire lock"*) untouched "code=$1" ;;
    *"Failed to run activate script"*) roll_back "code=$1" "message=the activation script of the new system failed" ;;
    esac
}

# untouched ends the run when the switch refused before it changed anything.
untouched() {
    running "$old" && decide rollback || return 0
    finish failed "$@" "message=the new system cannot be switched to now: see the log"
}

await() {
    [ "$confirm" != 0 ] || return 0
    # Open both ways: whoever rings does not wait, and no ringing is lost.
    [ ! -e "$bell" ] || rm -f "$bell"
    mkfifo "$bell" && exec 7<>"$bell"
    now
    deadline=$((now + confirm))
    phase confirming "deadline=$deadline"
    while :; do
        [ ! -e "$run/confirmed" ] || return 0
        [ ! -e "$run/rejected" ] || roll_back "reason=rejected" "message=$(cat "$run/rejected")"
        [ "$now" -lt "$deadline" ] ||
            roll_back "reason=unconfirmed" "message=nobody confirmed the new system within $confirm s"
        # A login that died before it rang is found out all the same.
        patience=$((deadline - now))
        [ "$patience" -lt 5 ] || patience=5
        if [ -p "$bell" ]; then
            apart timeout "$patience" head -n 1 <&7 >/dev/null
        else
            sleep 0.1
        fi
        now
    done
}

# ring wakes the supervisor that waits for a verdict. Where nobody waits it does
# nothing: opened both ways, a pipe without a reader keeps nobody.
ring() { [ ! -p "$bell" ] || echo 1<>"$bell"; }

# decide VERDICT succeeds for the first who decides, and for whoever decides the
# same afterwards. A link appears whole or not at all.
decide() {
    # What is written into must not be the decision of somebody who had our number.
    [ ! -e "$run/decision.$$" ] || rm -f "$run/decision.$$"
    echo "$1" >"$run/decision.$$"
    # An empty decision would decide nothing, and nobody else could.
    [ -s "$run/decision.$$" ] || {
        rm -f "$run/reserve"
        echo "$1" >"$run/decision.$$"
    }
    ln "$run/decision.$$" "$run/decision" 2>/dev/null
    read -r decided <"$run/decision" && [ "$decided" = "$1" ]
}

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
    for attempt in 1 2 3; do
        activate "$old" test "$switchtimeout"
        code=$?
        if running "$old"; then
            case $code in
            0 | 4) finish rolledback "$@" ;;
            esac
        fi
        phase rolling-back "attempt=$attempt" "code=$code" "message=the old system did not come back"
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
