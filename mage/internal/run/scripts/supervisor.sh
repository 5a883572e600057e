# shellcheck shell=sh
# shellcheck disable=SC2153,SC2154 # lib.sh goes before it, and the laptop's variables
# The supervisor: performs one run on a server, and guards it.
#
#   supervisor.sh run ID             perform the run (in a unit of its own)
#   supervisor.sh watchdog ID WHICH  a deadline has passed: roll back
#   supervisor.sh follow ID OFFSET   show the run's status lines as they come, and
#                                    on stderr its log from a byte on, as it grows
#   supervisor.sh probe ID SETTLE    look at the new system; wait for a verdict
#   supervisor.sh cancel ID          make a run that waits roll back
#   supervisor.sh recover            decide a commit that a crash interrupted
#
# What a run leaves under $STATE/runs/ID, and who reads it:
#   request manifest delete secrets tree/   what the laptop sent
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

# phase NAME [KEY=VALUE...] [message=TEXT]
phase() {
    now
    printf '%s %s\n' "$now" "$*" >>"$run/status"
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
    rm -rf "$run/reserve" "$bell" "$spent" "$spent.stamp" "$spent.seen" "$intent" "$run/tree" "$run/result" "$ROOT/nix/var/nix/gcroots/vps-$id"
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

# apart runs a program without the descriptors of our locks: one that leaves a
# daemon behind would hold the server for ever.
apart() { "$@" 7>&- 8>&- 9>&-; }

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

# --- the staged tree -----------------------------------------------------------

stage() {
    phase staging
    for left in "$ROOT"/etc/.nixos-vps-*; do
        [ ! -e "$left" ] || rm -rf "$left"
    done
    [ "$want" != none ] || return 0
    : >"$staged.seen"
    manifest "$NIXOS" >"$run/manifest.old" || finish failed "message=could not list /etc/nixos: $(tail -n 1 "$run/log")"
    hash_of "$run/manifest.old"
    [ "$hash" = "$base" ] ||
        finish stale "message=/etc/nixos changed while the run was being prepared"
    if [ "$kind" = rollback ]; then
        cp -a "$STATE/trees/$want" "$staged"
    else
        stage_update
    fi || finish failed "message=could not stage the tree: $(tail -n 1 "$run/log")"
    : >"$staged.stamp"
    manifest "$staged" >"$run/manifest.new"
    hash_of "$run/manifest.new"
    [ "$hash" = "$want" ] ||
        finish failed "message=the staged tree is not the one that was sent"
}

# intact says whether the staged tree is as it was when its digest was taken. The
# stamp lies beside it: another file system may keep time otherwise.
intact() {
    [ "$want" != none ] || return 0
    changed=$(find "$staged" -cnewer "$staged.stamp") && [ -z "$changed" ] && return
    printf '%s\n' "$changed" "the tree in $staged was changed while the system was built" >&2
    return 1
}

stage_update() {
    first=
    read -r first <"$run/manifest.old"
    case $first in
    odd | missing) mkdir "$staged" ;;
    # Links between files are not kept: one file would be written through another.
    *) cp -RPp "$NIXOS/." "$staged" ;;
    esac || return
    # All at once: a process for each of a thousand files is seconds.
    [ ! -s "$run/delete" ] || (cd "$staged" && xargs -0 rm -f <"$run/delete") || return
    # An empty folder may be where a file shall go.
    lay_over 2>/dev/null || { tidy_up && lay_over; } || return
    tidy_up
}

lay_over() { [ ! -d "$run/tree" ] || cp -RP "$run/tree/." "$staged/"; }

# tidy_up removes empty folders, and gives all else its owner and mode. Most have
# them, and need no program.
tidy_up() {
    mine='-user 0 -group 0'
    [ -z "$ROOT" ] || mine='-perm -0' # true of all: a test need not be root
    # shellcheck disable=SC2086 # words
    find "$staged" -depth -type d -empty -delete -o \
        \( $mine -o -exec chown -h 0:0 {} + \) \
        \( \( -type d -o -type f -perm -100 \) ! -perm 0755 -exec chmod 0755 {} + \
        -o -type f ! -perm -100 ! -perm 0644 -exec chmod 0644 {} + \)
}

# --- building ------------------------------------------------------------------

build() {
    phase building
    if [ "$kind" = rollback ]; then
        field "$run/request" generation
        number=$field
        resolve "$PROFILE-$number-link"
        new=$resolved
        [ -x "$new/bin/switch-to-configuration" ] ||
            finish failed "message=generation $number is not there any more"
        ln -sfn "$new" "$run/result"
    else
        # An explicit path: a bare one breaks where /etc is a git repository.
        (
            export _NIXOS_REBUILD_REEXEC=1
            # Else a power cut leaves files empty that Nix takes for valid ever after.
            # The older of the two also syncs what is built; a Nix without it warns.
            export NIX_CONFIG='fsync-store-paths = true
sync-before-registering = true'
            field "$run/request" output
            instead nixos-rebuild build --flake "path:$staged#$field"
        ) ||
            finish failed "stage=build" "message=the build failed"
        intact || finish failed "reason=written" "message=the build wrote into the tree that it was given, as Nix does where flake.lock lacks an input"
        resolve "$run/result" || finish failed "stage=build" "message=the build left no result"
        new=$resolved
    fi
    printf 'system=%s\n' "$new" >"$run/request.new"
    phase built "system=$new"
}

# Kernels live on a small /boot: a boot loader that finds it full half-way is
# worse than a refusal now.
boot_space() {
    need=1024
    for part in kernel initrd; do
        [ -e "$new/$part" ] || continue
        [ "$(readlink -f "$new/$part")" = "$(readlink -f "$boot/$part")" ] && continue
        need=$((need + $(wc -c <"$new/$part") / 1024))
    done
    free "$ROOT/boot"
    available=${free# }
    [ "${available:-0}" -ge "$need" ] ||
        finish failed "message=/boot has $available kB free and the new system needs $need kB"
}

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

# --- committing ----------------------------------------------------------------------

commit() {
    if ! decide commit; then
        exit 0
    fi
    phase committing
    # Nobody has exchanged it yet, so place need not look whether it is there.
    [ "$base" = "$want" ] || unplaced=$want
    if keep_tree && intact && write_intent && advance; then
        finish_committed
    fi
    undo_commit reason=commit "message=the commit failed: $(tail -n 1 "$run/log")"
}

# undo_commit goes back to the old tree, boot default and running system.
undo_commit() {
    rm -f "$run/reserve"
    retreat || finish stuck "$@"
    [ -e "$run/armed" ] || finish failed "$@"
    restore "$@"
}

finish_committed() {
    [ -n "${made-}" ] || {
        generation
        made=$generation
    }
    kept
    finish committed "generation=$made" "system=$new" "$kept"
}

# A tree is kept as long as its generation exists: rollback needs both.
keep_tree() {
    [ "$want" = none ] || [ -d "$STATE/trees/$want" ] || {
        { [ -d "$STATE/trees" ] || mkdir "$STATE/trees"; } &&
            { [ ! -e "$STATE/trees/.new" ] || rm -rf "$STATE/trees/.new"; } &&
            cp -a "$staged" "$STATE/trees/.new"
    }
}

# name_tree gives the kept tree its name, once it is known to be on the disk.
name_tree() {
    [ "$want" = none ] || [ -d "$STATE/trees/$want" ] ||
        mv "$STATE/trees/.new" "$STATE/trees/$want"
}

# write_intent also makes sure that the staged and the kept tree are on the disk.
write_intent() {
    copy "$run/request" "$STATE/intent.new" &&
        keep_supervisor &&
        sync &&
        mv "$STATE/intent.new" "$STATE/intent" &&
        sync
}

# keep_supervisor leaves the script that can decide an interrupted commit.
keep_supervisor() {
    cmp -s "$run/supervisor.sh" "$STATE/supervisor.sh" || {
        cp "$run/supervisor.sh" "$STATE/supervisor.sh.new" &&
            mv "$STATE/supervisor.sh.new" "$STATE/supervisor.sh"
    }
}

# advance does, and does again after a crash, what makes the new system and its
# tree the persistent ones. Every step may already be done.
advance() {
    name_tree &&
        set_profile &&
        activate "$new" boot "$switchtimeout" &&
        place "$want" &&
        write_record &&
        sync
}

set_profile() {
    resolve "$PROFILE"
    [ "$resolved" != "$new" ] || [ "$kind" = rollback ] || return 0
    if [ "$kind" = rollback ]; then
        field "$run/request" generation
        apart nix-env -p "$PROFILE" --switch-generation "$field"
    else
        apart nix-env -p "$PROFILE" --set "$new"
    fi
}

# retreat undoes what advance did, as far as it came. Run from a crash, too.
retreat() {
    generation
    if [ "$generation" != "$bootgeneration" ]; then
        undone=$generation
        apart nix-env -p "$PROFILE" --switch-generation "$bootgeneration" || return
        [ "$kind" = rollback ] || apart nix-env -p "$PROFILE" --delete-generations "$undone"
    fi
    activate "$boot" boot "$switchtimeout" || return
    replace && sync && rm -f "$STATE/intent" && sync
}

# replace takes the exchange of the trees back, if there was one. What it brings back
# need not be what the run has seen: somebody may have edited it meanwhile.
replace() {
    [ "$want" != none ] || return 0
    if [ -d "$staged.old" ]; then
        replace_half
        return
    fi
    digest "$staged"
    if [ "$digest" = "$want" ] && [ -d "$NIXOS" ]; then
        return 0
    fi
    digest "$NIXOS"
    if [ "$digest" = "$want" ] && [ -d "$staged" ]; then
        swap "$staged"
        return
    fi
    place "$base"
}

# replace_half takes back an exchange by renames, or the taking back of one, that a
# crash stopped between them. NixOS makes an /etc/nixos at its start where none is.
replace_half() {
    digest "$staged.old"
    if [ "$digest" = "$want" ]; then
        if [ -d "$staged" ]; then
            { [ ! -e "$NIXOS" ] || rmdir "$NIXOS"; } && mv "$staged" "$NIXOS" || return
        fi
        mv "$staged.old" "$staged"
        return
    fi
    rm -rf "$staged" &&
        { [ ! -e "$NIXOS" ] || mv "$NIXOS" "$staged"; } &&
        mv "$staged.old" "$NIXOS"
}

# place DIGEST makes the tree with that digest /etc/nixos, wherever a commit
# that stopped in the middle has left it.
place() {
    [ "$1" != none ] || return 0
    if [ "$1" = "${unplaced-}" ]; then
        unplaced=
        swap "$staged" || return
    else
        digest "$NIXOS"
        [ "$digest" = "$1" ] || bring "$1" || return
    fi
    # A crash between the renames of swap left what was replaced under another
    # name, where nobody would keep or remove it.
    [ ! -d "$staged.old" ] || [ -e "$staged" ] || mv "$staged.old" "$staged"
}

bring() {
    for found in "$staged" "$staged.old"; do
        digest "$found"
        [ "$digest" = "$1" ] || continue
        [ -d "$found" ] || {
            mv "$NIXOS" "$found"
            return
        }
        swap "$found"
        return
    done
    echo "the tree $1 is neither in $NIXOS nor in $staged" >&2
    return 1
}

# swap DIR exchanges it with /etc/nixos: in one step where mv can, else in
# renames that place can tell apart afterwards. Never by copying.
swap() {
    if [ ! -e "$NIXOS" ]; then
        mv "$1" "$NIXOS"
    elif mv --exchange -T "$1" "$NIXOS" 2>/dev/null; then
        return 0
    elif [ "$1" = "$staged" ]; then
        mv "$NIXOS" "$staged.old" && mv "$staged" "$NIXOS" && mv "$staged.old" "$staged"
    else
        mv "$NIXOS" "$staged" && mv "$staged.old" "$NIXOS"
    fi
}

# write_record is called when the tree that was wanted is in its place, and puts
# that on the disk, too.
write_record() {
    generation
    made=$generation
    placed=$want
    [ "$want" != none ] || {
        digest "$NIXOS"
        placed=$digest
    }
    backfill
    keep_foreign || return
    {
        # What is looked for most comes first.
        printf 'digest=%s\ngeneration=%s\n' "$placed" "$made"
        requested id kind action commit dirty who from since
        printf '%s' "$requested"
        now
        printf 'when=%s\nsystem=%s\n' "$now" "$new"
    } >"$STATE/record.new" || return
    [ -d "$STATE/generations" ] || mkdir "$STATE/generations" || return
    [ "$kind" = rollback ] || copy "$STATE/record.new" "$STATE/generations/$made" || return
    sync
    mv "$STATE/record.new" "$STATE/record"
}

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
    if rm -rf "$STATE/kept/.new" && mkdir -p "$STATE/kept" && cp -a "$staged" "$STATE/kept/.new" &&
        rm -rf "$STATE/kept/$id" && mv "$STATE/kept/.new" "$STATE/kept/$id"; then
        return 0
    fi
    rm -rf "$STATE/kept/.new" # else a full disk stays full
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

# --- what the units and the laptop call ----------------------------------------------

perform() {
    exec >>"$run/log" 2>&1 </dev/null
    exec 8>"$run/alive"
    flock 8
    # Only now: who finds this, and alive unlocked, takes us for dead.
    echo $$ >"$run/pid"
    cd "$run" || exit 1
    [ ! -e "$run/forgotten" ] || finish failed "message=the run began too late"
    lock 0.2 || busy
    : >"$run/held"
    announce
    upgrading && finish busy "message=$service.service is running"
    settle_others "$id" ||
        finish failed reason=stuck "message=an interrupted run could not be finished or undone: see /var/lib/vps/runs"
    printf '%262144s' '' >"$run/reserve" || finish failed "message=the disk is full"
    remember_old
    tidy
    stage
    build
    case $action in
    build) finish built "system=$new" ;;
    dry)
        activate "$new" dry-activate || finish failed "message=dry-activate failed"
        finish dry "system=$new"
        ;;
    boot)
        boot_space
        commit
        ;;
    esac
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

upgrading() {
    systemd || return 1
    answers=$(systemctl is-active nixos-upgrade.service nixos-rebuild-switch-to-configuration.service 2>/dev/null)
    service=nixos-upgrade
    for state in $answers; do
        case $state in
        active | activating | reloading) return 0 ;;
        esac
        service=nixos-rebuild-switch-to-configuration
    done
    return 1
}

remember_old() {
    { resolve "$ROOT/run/current-system" && old=$resolved &&
        resolve "$PROFILE" && boot=$resolved; } ||
        finish failed "message=no system runs, or none is the boot default"
    generation
    bootgeneration=$generation
    printf 'system=%s\nboot=%s\ngeneration=%s\n' "$old" "$boot" "$bootgeneration" >"$run/request.old"
}

# follow shows status lines and log until its input ends, and "gone" when the
# supervisor has died. tail alone would outlive the login.
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
            echo gone
        fi
    ) 2>/dev/null &
    while read -r _; do :; done
    # shellcheck disable=SC2086 # a list
    kill $tails "$!" 2>/dev/null
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

# probe prints what a new login sees of the new system, watches its units for
# some seconds, and passes the laptop's verdict on.
probe() {
    resolve "$ROOT/run/current-system"
    printf 'current=%s\nwanted=%s\n' "$resolved" "$new"
    while IFS= read -r path; do
        [ -z "$path" ] || [ -e "$ROOT$path" ] || printf 'missing=%s\n' "$path"
    done <"$run/secrets"
    waited=0
    while :; do
        worse && break
        [ "$waited" -lt "$1" ] || break
        waited=$((waited + 1))
        sleep 1
    done
    echo probed=1
    IFS= read -r verdict || exit 0
    case $verdict in
    confirm)
        : >"$run/confirmed"
        ring
        echo confirmed=1
        ;;
    reject*)
        printf '%s\n' "${verdict#reject }" >"$run/rejected.new"
        mv "$run/rejected.new" "$run/rejected"
        ring
        echo rejected=1
        ;;
    esac
}

# worse prints the units that are in trouble now and were not before the switch.
worse() {
    found=1
    troubled >"$run/troubled.now"
    while read -r scope unit sub; do
        before=
        while read -r scope_ unit_ _; do
            [ "$scope $unit" = "$scope_ $unit_" ] && before=1
        done <"$run/troubled"
        [ -n "$before" ] || {
            printf 'unit=%s %s %s\n' "$scope" "$unit" "$sub"
            found=0
        }
    done <"$run/troubled.now"
    return $found
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
    probe "$3"
    ;;
cancel)
    load "$2"
    echo "cancelled by a rollback" >"$run/rejected.cancel"
    mv "$run/rejected.cancel" "$run/rejected"
    ring
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
