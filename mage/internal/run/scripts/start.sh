# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Turns an uploaded archive into a run and starts its supervisor, in a unit of
# its own that outlives this login. ID names the run, UPLOAD is the archive in
# the login folder, SHA256 its hash. Prints "started", or why not, on stdout, and
# then shows the run until its input ends.
PATH=$ROOT/run/current-system/sw/bin:$PATH
run=$STATE/runs/$ID

fail() {
    printf 'failed=%s\n' "$*"
    rm -f "$UPLOAD"
    exit 0
}

unpack() {
    [ -d "$STATE/runs" ] || { mkdir -p "$STATE/runs" && chmod 700 "$STATE"; } || fail "cannot make $STATE"
    mkdir -m 700 "$run" || fail "cannot make $run"
    archive=$UPLOAD
    # Copied, if it belongs to another user, who could still hold it open and
    # change it after its hash was compared.
    [ -O "$UPLOAD" ] || {
        archive=$run/archive.tar
        cat "$UPLOAD" >"$archive" || fail "cannot write to $run: is the disk full?"
    }
    hash_of "$archive"
    [ "$hash" = "$SHA256" ] || fail "the archive arrived damaged"
    tar -xof "$archive" -C "$run" || fail "cannot unpack the archive in $run"
    rm -f "$UPLOAD" "$archive"
    for other in .vps-upload-*; do
        # A client that died left it behind.
        [ ! -f "$other" ] || [ -z "$(find "$other" -mmin +60)" ] || rm -f "$other"
    done
    : >"$run/log"
    : >"$run/status"
}

# The unit gets the PATH of the system that runs now, by its store path: the
# switch is about to exchange what /run/current-system points to.
launch() {
    resolve "$ROOT/run/current-system"
    path=$resolved/sw/bin
    if systemd; then
        systemd-run --quiet --collect --unit="vps-run-$ID" \
            --description="vps: run $ID" --property=OOMPolicy=continue \
            --setenv=PATH="$path" --setenv=HOME="$ROOT/root" --setenv=VPS_ROOT="$ROOT" \
            --setenv=VPS_BEGAN="${began-}" \
            /bin/sh "$run/supervisor.sh" run "$ID" || fail "systemd-run could not start the supervisor"
    else
        PATH=$path HOME=$ROOT/root VPS_ROOT=$ROOT setsid \
            /bin/sh "$run/supervisor.sh" run "$ID" </dev/null >/dev/null 2>&1 &
    fi
}

unpack
launch
echo started=1
set -- follow "$ID" 0
# shellcheck disable=SC1091 # it came with the archive
. "$run/supervisor.sh"
