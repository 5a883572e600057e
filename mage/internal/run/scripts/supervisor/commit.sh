# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
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
        requested id kind action output commit dirty who from since
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
