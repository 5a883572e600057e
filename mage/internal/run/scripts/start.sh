# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it
# Turns an archive that follows on standard input into a run, and starts its
# supervisor in a unit of its own that outlives this login.

# start ID SIZE SHA256 reads an archive of so many bytes, whose hash is given, and
# prints "started=1", or "failed=" and why not. It uses nothing of the login: no
# folder, no file transfer, no second session.
start() {
    run=$STATE/runs/$1
    [ -d "$STATE/runs" ] || { mkdir -p "$STATE/runs" && chmod 700 "$STATE"; } || refuse "cannot make $STATE"
    mkdir -m 700 "$run" || refuse "cannot make $run"
    # What the program complains about is the reason; its last line is.
    why=$(head -c "$2" 2>&1 >"$run/archive.tar") || refuse "cannot write to $run: ${why##*"$newline"}"
    hash_of "$run/archive.tar"
    [ "$hash" = "$3" ] || refuse "the archive arrived damaged"
    why=$(tar -xof "$run/archive.tar" -C "$run" 2>&1) || refuse "cannot unpack the archive in $run: ${why##*"$newline"}"
    rm -f "$run/archive.tar"
    # What a switch runs as another user has the log open: it must not be read by that.
    (umask 077 && : >"$run/log" && : >"$run/status") || refuse "cannot write to $run"
    # The names of runs tell the time of the laptops that began them, which is anything.
    printf '%s\n' "$1" >"$STATE/last" || refuse "cannot write to $STATE"
    launch "$1"
    echo started=1
}

# refuse ends the shell: what is left of the archive must not be taken for orders.
# The folder goes, because a disk that is full would stay so.
refuse() {
    full "$STATE"
    rm -rf "$run/archive.tar" "$run/tree"
    printf 'failed=%s\n' "$*${full:+: $full; free some of it (nix-collect-garbage removes what no generation needs)}"
    exit 0
}

# launch ID. What the supervisor says before it opens its log is in the log, too. The unit gets the PATH of the system that runs now, by its store path:
# the switch is about to exchange what /run/current-system points to.
launch() {
    resolve "$ROOT/run/current-system"
    path=$resolved/sw/bin
    if systemd; then
        why=$(systemd-run --quiet --collect --unit="vps-run-$1" \
            --description="vps: run $1" --property=OOMPolicy=continue \
            --setenv=PATH="$path" --setenv=HOME="$ROOT/root" --setenv=VPS_ROOT="$ROOT" \
            --setenv=VPS_BEGAN="${began-}" \
            --property=StandardOutput="append:$run/log" --property=StandardError="append:$run/log" \
            /bin/sh "$run/supervisor.sh" run "$1" 2>&1) ||
            refuse "systemd-run could not start the supervisor: ${why##*"$newline"}"
    else
        PATH=$path HOME=$ROOT/root VPS_ROOT=$ROOT setsid \
            /bin/sh "$run/supervisor.sh" run "$1" </dev/null >>"$run/log" 2>&1 &
    fi
}
