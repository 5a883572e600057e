#!/bin/bash
# Plays nixos-anywhere 1.13.0, for tests of who runs it: the same command line,
# the same announcements, the same ssh options, the same waits without an end,
# the same carelessness about modes, host keys and leftovers. Nix, ssh,
# ssh-copy-id and tar are the real ones. The numbers are lines of its
# src/nixos-anywhere.sh that behave in this way.
set -euo pipefail

self=$(dirname "$0")
flake='' attribute='' target='' key='' extra='' kexec=$self/kexec.tar.gz
port_after=22 build_on=auto
disko='' system='' sudo='' phases=kexec,disko,install,reboot substituters=y
disk_keys=()
nix_options=(--extra-experimental-features 'nix-command flakes' --no-write-lock-file)
copy_options=(--substitute-on-destination)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ssh_options=(-o IdentitiesOnly=yes -i "$work/nixos-anywhere" -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no)

step() { echo "### $* ###"; }
abort() {
    echo "aborted: $*" >&2
    exit 1
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        -f | --flake) flake=${2%#*} attribute=nixosConfigurations.\"${2##*#}\".config && shift ;;
        --target-host) target=$2 && shift ;;
        -i) key=$2 && shift ;;
        -p | --ssh-port) ssh_options+=(-p "$2") && shift ;;
        --ssh-option) ssh_options+=(-o "$2") && shift ;;
        --post-kexec-ssh-port) port_after=$2 && shift ;;
        --kexec) kexec=$2 && shift ;;
        --extra-files) extra=$2 && shift ;;
        --build-on) build_on=$2 && shift ;;
        -s | --store-paths) disko=$2 system=$3 && shift 2 ;;                # 244
        --phases) phases=$2 && shift ;;                                     # 345
        --disk-encryption-keys) disk_keys+=("$2" "$3") && shift 2 ;;        # 340
        --no-use-machine-substituters) substituters=n ;;                    # 388
        --option) nix_options+=(--option "$2" "$3") && shift 2 ;;
        --no-substitute-on-destination) copy_options=() ;;
        -L | --print-build-logs) nix_options+=(-L) ;;
        -*)
            echo "Usage: nixos-anywhere [options] [<ssh-host>]"
            exit 1
            ;;
        *) target=$1 ;;
        esac
        shift
    done
    [ -n "$target" ] || abort "no server to install"
    [ -n "$flake" ] || [ -n "$disko" ] || abort "--flake or --store-paths must be set" # 961
    case $build_on in
    auto | local | remote) ;;
    *) abort "unknown place to build: $build_on" ;;
    esac
}

# in_phase NAME says whether a phase was asked for.
in_phase() { case ,$phases, in *,"$1",*) ;; *) return 1 ;; esac }

# Standard input is the caller's: who gives the installer one, loses it here. There
# is no terminal, so that what runs on the server does not notice when this ends (472).
remote() { ssh -T "${ssh_options[@]}" "$target" "$@"; }
remote_briefly() { timeout 10 ssh "${ssh_options[@]}" "$target" "$@"; }

build() {
    NIX_SSHOPTS="${ssh_options[*]}" nix build --print-out-paths --no-link "${nix_options[@]}" "$@"
}
copy() {
    NIX_SSHOPTS="${ssh_options[*]}" nix copy "${nix_options[@]}" "${copy_options[@]}" "$@"
}

# Only what the phases need is built (949).
build_here() {
    [ -z "$disko" ] || return 0
    ! in_phase disko || disko=$(build "$flake#$attribute.system.build.diskoScript")
    ! in_phase install || system=$(build "$flake#$attribute.system.build.toplevel")
}

# Tries for ever (546).
upload_key() {
    mkdir -p "$HOME/.ssh"
    cp "$key" "$work/nixos-anywhere"
    ssh-keygen -y -f "$work/nixos-anywhere" >"$work/nixos-anywhere.pub"
    step Uploading install SSH keys
    until ssh-copy-id -o IdentitiesOnly=no -o ConnectTimeout=10 "${ssh_options[@]}" "$target"; do
        sleep 3
    done
}

declare -A fact
gather_facts() {
    local answers name value
    step Gathering machine facts
    answers=$(remote -o ConnectTimeout=10 sh -- <"$self/facts.sh") || exit 1
    while IFS='=' read -r name value; do
        fact[$name]=$value
    done <<<"$answers"
    [ -n "${fact[isOs]-}" ] || abort "the server told no facts"
    if [ "${fact[isRoot]}" = y ]; then
        sudo=
    elif [ "${fact[hasSudo]}" = y ]; then
        sudo=sudo
    else
        abort "not root, and no sudo"
    fi
}

check_facts() {
    [ "${fact[hasTar]}" = y ] || abort "the server has no tar"
    [ "${fact[hasCpio]}" = y ] || abort "the server has no cpio"
    [ "${fact[hasSetsid]}" = y ] || abort "the server has no setsid that knows --wait"
    [ "${fact[isOs]}" = Linux ] || abort "the server runs ${fact[isOs]}, not Linux"
}

into_installer() {
    local i
    [ "${fact[isInstaller]}" = n ] || return 0
    step Switching system into kexec
    # shellcheck disable=SC2016 # expanded on the server
    remote 'mkdir -p "$HOME/kexec" && cat >"$HOME/kexec/kexec-tarball.tar.gz"' <"$kexec"
    # What fails there is told on standard output, and its end on standard error (745, 736).
    # shellcheck disable=SC2016
    remote 'cd "$HOME/kexec" && { tar -xzvf kexec-tarball.tar.gz && '"$sudo"' setsid --wait "$HOME/kexec/kexec/run"; } 2>&1 | tee nixos-anywhere.log
        grep -q "machine will boot into nixos" nixos-anywhere.log || { echo "Kexec may have failed - check output above"; exit 1; }' || {
        echo "Kexec failed" >&2
        exit 1
    }
    for i in "${!ssh_options[@]}"; do
        if [ "${ssh_options[i]}" = -p ]; then
            ssh_options[i + 1]=$port_after
        fi
    done
    while remote_briefly -- exit 0; do sleep 1; done # 822
    target=root@${target#*@}
    # For ever, too (828).
    until remote -o ConnectTimeout=10 -- exit 0; do sleep 5; done
    gather_facts
    [ "${fact[isInstaller]}" = y ] || abort "after kexec the server is not the installer"
}

# can_build_here SYSTEM
can_build_here() {
    [ "$1" != "$(nix "${nix_options[@]:0:2}" config show system)" ] || return 0
    nix build "${nix_options[@]}" --no-link --impure --expr "derivation {
        system = \"$1\"; name = \"probe-$(date +%s)\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo > \$out\" ]; }"
}

decide_where_to_build() {
    if [ "$build_on" = auto ]; then
        if can_build_here "$(remote -o ConnectTimeout=10 nix "${nix_options[@]:0:1}" nix-command config show system)"; then
            build_on=local
        else
            build_on=remote
        fi
        [ "$build_on" = remote ] || build_here
    fi
}

pass_on_caches() {
    local caches
    caches=$(nix eval "${nix_options[@]}" --apply toString "$flake#$attribute.nix.settings.substituters")
    remote sh <<END || true
mkdir -p ~/.config/nix
echo "extra-substituters = $caches" >>~/.config/nix/nix.conf
END
}

# store [QUERY]: the address of the server's store for remote builds.
store() { echo "ssh-ng://$target?ssh-key=$work%2Fnixos-anywhere&compress=true${1-}"; }

format() {
    local i path
    for ((i = 0; i < ${#disk_keys[@]}; i += 2)); do
        path=${disk_keys[i]}
        step "Uploading ${disk_keys[i + 1]} to $path" # 840
        remote "umask 077; mkdir -p \"$(dirname "$path")\"; cat > $path" <"${disk_keys[i + 1]}"
    done
    if [ "$build_on" = remote ]; then
        step Building disko script
        disko=$(build --eval-store auto --store "$(store)" "$flake#$attribute.system.build.diskoScript")
    else
        copy --to "ssh://$target?compress=true" "$disko"
    fi
    step Formatting hard drive with disko
    remote "$disko"
}

install() {
    if [ "$build_on" = remote ]; then
        step Building the system closure
        system=$(build --eval-store auto --store "$(store '&remote-store=local%3Froot=%2Fmnt')" \
            "$flake#$attribute.system.build.toplevel")
    else
        step Uploading the system closure
        copy --to "ssh://$target?remote-store=local%3Froot=%2Fmnt&compress=true" "$system"
    fi
    if [ -n "$extra" ]; then
        step Copying extra files
        # The modes of every folder on the way go with it, and the owner does not.
        tar -C "$extra" -cpf- . | remote "tar -C /mnt -xf- --no-same-owner"
        remote "chmod 755 /mnt"
    fi
    step Installing NixOS
    remote sh <<END
set -eu
PATH=\$PATH:/run/current-system/sw/bin
export PATH
nixos-install --no-root-passwd --no-channel-copy --system "$system"
END
}

reboot_server() {
    step Rebooting
    remote sh <<'END'
nohup sh -c 'sleep 3 && reboot -f -f -n' >/dev/null 2>&1 &
END
    step Waiting for the machine to become unreachable due to reboot
    while remote_briefly -- exit 0; do sleep 1; done
}

parse "$@"
[ "$build_on" != local ] || build_here
in_phase kexec || target=root@${target#*@} # 979
upload_key
gather_facts
check_facts
! in_phase kexec || into_installer
decide_where_to_build
[ "$substituters" = n ] || [ -z "$flake" ] || pass_on_caches # 1039
! in_phase disko || format
! in_phase install || install
! in_phase reboot || reboot_server
step "Done!"
