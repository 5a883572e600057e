# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- activating ------------------------------------------------------------------

# activate SYSTEM ACTION [LIMIT] runs a system's own switch with the environment
# that nixos-rebuild gives it. What it says is in the log, after $mark.
activate() {
    activations=$((${activations-0} + 1))
    mark="--- switch-to-configuration $2 $$.$activations"
    echo "$mark"
    (activation "$@")
}

# activation is activate in place of the shell, at the end of a subshell of its own.
activation() {
    cd / || exit
    export NIXOS_INSTALL_BOOTLOADER=0
    export LOCALE_ARCHIVE="$1/sw/lib/locale/locale-archive"
    [ -e "$LOCALE_ARCHIVE" ] || unset LOCALE_ARCHIVE
    # What ran before may run again: a check of its own must not lead to a reboot.
    [ -z "${going_back-}" ] || export NIXOS_NO_CHECK=1
    if [ -n "${3-}" ]; then
        instead timeout -k 5 "$3" "$1/bin/switch-to-configuration" "$2"
    else
        instead "$1/bin/switch-to-configuration" "$2"
    fi
}

# patiently SYSTEM ACTION is activate with its time limit, for a switch that must come
# about: while another one holds NixOS's own lock, it waits for as long.
patiently() {
    now
    patience=$((now + switchtimeout))
    until activate "$1" "$2" "$switchtimeout"; do
        code=$?
        now
        [ "$now" -lt "$patience" ] && refused_by_lock || return "$code"
        sleep 1
    done
}

# words prints what the last activation said.
words() { sed -n "/^$mark\$/,\$p" "$run/log"; }

refused_by_lock() {
    case $(words) in *"Could not acquire lock"*) ;; *) return 1 ;; esac
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
            </dev/null >/dev/null 2>&1 7>&- 8>&- 9>&- &
    fi
}

# disarm WHICH... stops deadlines, by one pattern: systemctl stops none of several
# units if one of them is absent. One that elapses in that moment is tried again.
disarm() {
    if systemd; then
        initials=
        for which; do initials=$initials${which%"${which#?}"}; done
        for _ in 1 2 3; do
            ! apart systemctl stop "vps-[$initials]*-$id.timer" || return 0
        done
        echo "could not stop vps-[$initials]*-$id.timer" >&2
        return 0
    fi
    for which; do
        if [ -s "$run/sleeper.$which" ]; then
            kill "$(cat "$run/sleeper.$which")" 2>/dev/null
            rm -f "$run/sleeper.$which"
        fi
    done
}

switching_now='message=another switch is under way on the server: it holds the lock of switch-to-configuration'

# inhibited asks the new system whether it can be switched to while the old one
# runs. Its answer is in its words: the exit code of a failed check is arbitrary.
inhibited() {
    answer=$(activation "$new" check 2>&1)
    printf '%s\n' "$answer"
    case $answer in
    *"re-switch check"*) finish failed reason=reboot "message=the new system cannot replace the running one without a reboot" ;;
    *"Could not acquire lock"*) finish busy reason=switch "$switching_now" ;;
    esac
}

switch() {
    troubled >"$run/troubled" || unwritten "$run"
    # The boot default is kept anyway.
    [ "$old" = "$boot" ] || ln -sfn "$old" "$ROOT/nix/var/nix/gcroots/vps-$id" || unwritten "$ROOT/nix/var"
    { : >"$ROOT/run/vps-armed-$id" && : >"$run/armed"; } || {
        rm -f "$run/armed"
        unwritten "$run"
    }
    sync || finish failed "message=could not sync the disks"
    [ "$confirm" = 0 ] || arm switch "$switchtimeout" ||
        finish failed "message=could not set the watchdog"
    phase switching "system=$new"
    activate "$new" test
    code=$?
    [ "$confirm" = 0 ] || arm confirm "$confirm" || roll_back "message=could not set the watchdog"
    # Its deadline, should it still come, looks for this.
    : >"$run/switched"
    judge "$code"
}

# judge CODE: what a switch's exit code means. 4 is left to the comparison of units
# later on, but it also hides a failed activation, which only the output tells.
judge() {
    [ "$1" = 0 ] || judge_words "$1"
    case $1 in
    0) ;;
    2 | 4) phase switched "code=$1" "message=${tolerated:-some units failed to start}" ;;
    100) untouched code=100 reason=reboot ;;
    *) roll_back "code=$1" "message=switch-to-configuration failed with $1" ;;
    esac
    running "$new" ||
        roll_back "code=$1" "message=the switch ended without making the new system the current one"
}

judge_words() {
    tolerated=
    case $(words) in
    *"re-switch checks failed"*) untouched "code=$1" ;;
    *"Could not acquire lock"*)
        running "$old" && decide rollback && finish busy reason=switch "$switching_now"
        ;;
    *"Failed to run activate script"*)
        failing=$(snippets)
        failed="the activation script of the new system failed${failing:+ ($failing)}"
        as_before "$1" || roll_back "code=$1" "message=$failed"
        tolerated="an activation snippet failed, as it does in the old system: $failing"
        ;;
    *) [ "$1" != 2 ] || roll_back code=2 "message=switch-to-configuration failed with 2" ;;
    esac
}

# snippets prints the activation snippets that failed in the last activation, as
# words, "?" where the script names none, and nothing if it did not fail.
snippets() {
    said=$(words)
    case $said in *"Failed to run activate script"*) ;; *) return ;; esac
    found=$(printf '%s\n' "$said" | sed -n "s/^Activation script snippet '\([A-Za-z0-9_.-]*\)' failed.*/\1/p")
    # shellcheck disable=SC2086 # words
    echo ${found:-?}
}

# as_before CODE says whether every snippet that fails fails in the old system, too: then the
# new one is no worse. Unless that is known of an earlier run, the old system is
# asked, by activating it once more; if it is no better, the new one comes back.
as_before() {
    field "$STATE/snippets" system
    if [ "$field" != "$old" ]; then
        phase switching "system=$old" "message=$failed: asking whether that of the old system does"
        going_back=1
        patiently "$old" test
        code=$?
        going_back=
        running "$old" || return
        keep_snippets "$old" "$(snippets)"
        ! worse_than_before || {
            [ "$code" != 0 ] && [ "$code" != 4 ] && [ "$code" != 2 ] || returned=1
            return 1
        }
        phase switching "system=$new" "message=it does"
        activate "$new" test
        running "$new" || return
        failing=$(snippets)
    fi
    ! worse_than_before
}

# keep_snippets SYSTEM SNIPPETS keeps which fail in the activation of a system.
keep_snippets() {
    printf 'system=%s\nsnippets=%s\n' "$1" "$2" >"$STATE/snippets.new" &&
        mv "$STATE/snippets.new" "$STATE/snippets"
}

# worse_than_before says whether something in $failing did not fail in the old system.
worse_than_before() {
    field "$STATE/snippets" snippets
    for snippet in $failing; do
        case " $field " in *" $snippet "*) ;; *) return 0 ;; esac
    done
    return 1
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
