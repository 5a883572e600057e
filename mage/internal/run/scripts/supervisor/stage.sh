# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- the staged tree -----------------------------------------------------------

stage() {
    phase staging
    for left in "$ROOT"/etc/.nixos-vps-*; do
        remove "$left" || broken_off "could not remove ${left#"$ROOT"}"
    done
    [ "$want" != none ] || return 0
    # What is mounted there would go with the folder that an exchange takes away.
    ! mounted "$NIXOS" ||
        finish failed reason=mount "message=something is mounted at ${mount#"$ROOT"}: /etc/nixos is exchanged as a whole"
    : >"$staged.seen" || unwritten "$ROOT/etc"
    manifest "$NIXOS" >"$run/manifest.old" || broken_off "could not list /etc/nixos"
    hash_of "$run/manifest.old"
    [ "$hash" = "$base" ] ||
        finish stale "message=/etc/nixos changed while the run was being prepared"
    if [ "$kind" = rollback ]; then
        cp -a "$STATE/trees/$want" "$staged"
    else
        stage_update
    fi || broken_off "could not stage the tree"
    : >"$staged.stamp" || unwritten "$ROOT/etc"
    manifest "$staged" >"$run/manifest.new" || broken_off "could not list the staged tree"
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

remember_old() {
    { resolve "$ROOT/run/current-system" && old=$resolved &&
        resolve "$PROFILE" && boot=$resolved; } ||
        finish failed "message=no system runs, or none is the boot default"
    generation
    bootgeneration=$generation
    printf 'system=%s\nboot=%s\ngeneration=%s\n' "$old" "$boot" "$bootgeneration" >"$run/request.old" ||
        unwritten "$run"
}

# --- building ------------------------------------------------------------------

build() {
    phase building
    if [ "$kind" = rollback ]; then
        field "$run/request" generation
        number=$field
        resolve "$PROFILE-$number-link"
        new=$resolved
        [ -n "$new" ] || finish failed "message=generation $number does not exist any more"
        ln -sfn "$new" "$run/result" || unwritten "$run"
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
        ) || {
            full "$ROOT/nix/store" "$run"
            [ -z "$full" ] || finish failed stage=build reason=full "message=the build failed: $full"
            finish failed "stage=build" "message=the build failed"
        }
        intact || finish failed "reason=written" "message=the build wrote into the tree that it was given, as Nix does where flake.lock lacks an input"
        resolve "$run/result" || finish failed "stage=build" "message=the build left no result"
        new=$resolved
    fi
    printf 'system=%s\n' "$new" >"$run/request.new" || unwritten "$run"
    phase built "system=$new"
    tell_facts
}

# switchable refuses a system that has no switch.
switchable() {
    [ -x "$new/bin/switch-to-configuration" ] ||
        finish failed reason=unswitchable "message=the new system has no bin/switch-to-configuration, as with system.switch.enable = false"
}

# Kernels live on a small /boot: a boot loader that finds it full half-way is
# worse than a refusal now. What is unknown is no refusal.
boot_space() {
    need=1024
    for part in kernel initrd; do
        # shellcheck disable=SC3013 # every shell of a NixOS has -ef
        [ ! -e "$new/$part" ] || [ "$new/$part" -ef "$boot/$part" ] || on_boot "$part" ||
            need=$((need + $(wc -c <"$new/$part") / 1024))
    done
    free "$ROOT/boot"
    [ -z "$free" ] || [ "${free# }" -ge "$need" ] ||
        finish failed reason=boot "message=/boot has$free kB free and the new system needs $need kB"
}

# on_boot PART says whether the new system's kernel or initrd lies on /boot already,
# where GRUB, systemd-boot and extlinux put it under its store path's name. Another
# boot loader has those of every generation.
on_boot() {
    file=$(readlink -f "$new/$1") || return
    name=${file#"$ROOT/nix/store/"}
    while :; do
        case $name in
        */*) name=${name%%/*}-${name#*/} ;;
        *) break ;;
        esac
    done
    known=
    for dir in kernels nixos EFI/nixos; do
        [ -d "$ROOT/boot/$dir" ] || continue
        known=1
        [ ! -s "$ROOT/boot/$dir/$name" ] && [ ! -s "$ROOT/boot/$dir/$name.efi" ] || return 0
    done
    [ -z "$known" ] || return 1
    for link in "$PROFILE"-*-link; do
        # shellcheck disable=SC3013
        [ ! "$link/$1" -ef "$file" ] || return 0
    done
    return 1
}

# --- telling what was built --------------------------------------------------------

# tell_facts passes on what the new system says of itself, for the laptop to judge.
# Without a usable facts.json it is asked by what it is made of: sshd by its own
# configuration, sops-nix by its manifests. What cannot be known is not told.
tell_facts() {
    one_line "$new/etc/vps/facts.json"
    if [ -n "$one_line" ]; then
        told "facts=$one_line"
        return
    fi
    ssh_ports
    [ -z "$ports" ] || told "ports=$ports"
    for file in "$new/activate" "$new"/etc/systemd/system/sops-install-secrets*.service; do
        [ ! -f "$file" ] || sed -n 's|.*[ ="]\(/[^ "]*-manifest[a-z-]*\.json\).*|\1|p' "$file"
    done >"$run/manifests" || unwritten "$run"
    while IFS= read -r file; do
        case $file in "$ROOT"/nix/store/*) one_line "$file" ;; *) continue ;; esac
        [ -z "$one_line" ] || told "manifest=$one_line"
    done <"$run/manifests"
}

# told KEY=VALUE adds to the phase: its value takes the rest of the line.
told() {
    now
    printf '%s built %s\n' "$now" "$1" >>"$run/status" || unwritten "$run"
}

# one_line FILE sets $one_line to a JSON object of one line and a bounded size, or to
# nothing. Whoever wrote the configuration wrote the file.
one_line() {
    one_line=
    [ -f "$1" ] || return 0
    one_line=$(head -c 262145 "$1" 2>/dev/null)
    case $one_line in
    *[[:cntrl:]]*) one_line= ;;
    '{'*'}') [ "${#one_line}" -le 262144 ] || one_line= ;;
    *) one_line= ;;
    esac
}

# ssh_ports sets $ports to those that the new system's sshd listens on, with commas
# between, or to nothing. Only newer ones have -G, which needs no host keys.
ssh_ports() {
    ports=
    config=$new/etc/ssh/sshd_config
    [ -f "$config" ] && [ -x "$new/sw/bin/sshd" ] || return 0
    for how in -G -T; do
        answer=$(apart timeout 10 "$new/sw/bin/sshd" "$how" -f "$config" 2>/dev/null) || continue
        each_line listening '' "$answer"
        return
    done
}

# listening _ LINE takes the port of one of sshd's lines "listenaddress ADDRESS:PORT",
# which newer ones write with capitals.
listening() {
    case $2 in
    [Ll]isten[Aa]ddress\ *:*) port=${2##*:} ;;
    *) return 0 ;;
    esac
    case $port:,$ports, in
    *[!0-9]*:,* | :,* | *",$port,"*) ;;
    *) ports=$ports${ports:+,}$port ;;
    esac
}
