# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- committing ----------------------------------------------------------------------

# unchanged says that the new system is the one that runs and boots: of a tree with
# another comment. There is nothing to switch to.
unchanged() { [ "$action" = switch ] && [ "$new" = "$old" ] && [ "$new" = "$boot" ] && same=1; }

commit() {
    if ! decide commit; then
        exit 0
    fi
    phase committing
    # Nobody has exchanged it yet, so place need not look whether it is there.
    [ "$base" = "$want" ] || unplaced=$want
    if unmounted && keep_tree && intact && write_intent && advance; then
        finish_committed
    fi
    undo_commit reason=commit "message=the commit failed: $(tail -n 1 "$run/log")"
}

# unmounted looks again: a mount that was made meanwhile would go with the old tree.
unmounted() {
    [ "$want" != none ] || return 0
    mounted "$NIXOS" || return 0
    echo "something is mounted at ${mount#"$ROOT"}" >&2
    return 1
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
    [ -z "${tolerated-}" ] || keep_snippets "$new" "$failing"
    kept
    finish committed "generation=$made" "system=$new" ${same:+same=1} "$kept"
}

# A tree is kept as long as its generation exists: rollback needs both.
keep_tree() {
    [ "$want" = none ] || [ -d "$STATE/trees/$want" ] || {
        { [ -d "$STATE/trees" ] || mkdir "$STATE/trees"; } &&
            { [ ! -e "$STATE/trees/.new" ] || remove "$STATE/trees/.new"; } &&
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
        { [ -n "${same-}" ] || patiently "$new" boot; } &&
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
    going_back=1
    patiently "$boot" boot || return
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
        requested id kind action output commit dirty who from
        printf '%s' "$requested"
        now
        printf 'when=%s\nsystem=%s\n' "$now" "$new"
    } >"$STATE/record.new" || return
    [ -d "$STATE/generations" ] || mkdir "$STATE/generations" || return
    [ "$kind" = rollback ] || copy "$STATE/record.new" "$STATE/generations/$made" || return
    sync
    mv "$STATE/record.new" "$STATE/record"
}

# --- exchanging the trees --------------------------------------------------------

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
    remove "$staged" &&
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
