#!/bin/sh
# Plays kexec/run of the installer's image, on the server, as root: keeps who
# may log in and the host keys, and replaces the running system at once, without
# shutting it down.
set -eu
# shellcheck source=/dev/null
[ ! -e /knobs/kexec ] || . /knobs/kexec
kept=/installer/kept
rm -rf "$kept"
mkdir -p "$kept/etc/ssh" "$kept/root"
mkdir -m 0700 "$kept/root/.ssh"
# As nixos-images' kexec-run.sh: the keys of root's home and of who used sudo, and
# of one more folder; without what stands before a key. sshd is not asked.
home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
for keys in /root/.ssh/authorized_keys /root/.ssh/authorized_keys2 "$home/.ssh/authorized_keys" /etc/ssh/authorized_keys.d/root; do
    [ ! -f "$keys" ] || grep -o '\(\(ssh\|ecdsa\|sk\)-[^ ]* .*\)' "$keys" || true
done | sort -u >"$kept/root/.ssh/authorized_keys"
cp -p /etc/ssh/ssh_host_* "$kept/etc/ssh/"
touch /installer/kexec
echo "machine will boot into nixos in 2s..."
# Without -n it would wait until the whole machine that runs the tests is synced.
setsid sh -c 'sleep 2; exec reboot -f -f -n' >/dev/null 2>&1 </dev/null &
