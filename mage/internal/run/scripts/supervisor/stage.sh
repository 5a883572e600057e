# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
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
