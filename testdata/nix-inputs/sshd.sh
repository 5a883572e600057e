#!/bin/sh
# Plays the SSH side of a deployed server with Debian's OpenSSH: users, secrets
# laid out as sops-nix does it, sshd with our settings. Then tries to log in and
# prints what came of each attempt.
#
# Runs as root in mount and network namespaces of its own (unshare -m -n), so
# that the machine's users, /run and ports stay as they are.
#
# usage: sshd.sh FOLDER SECRET MODE, where FOLDER has passwd, group, shadow,
# sshd_config, the keys "ours" and "other", and gets the log of sshd.
set -eu
folder=$1
secret=$2 # path that sshd_config names, below /run/secrets-for-users
mode=$3   # of the secret

for file in passwd group shadow; do
    mount --bind "$folder/$file" "/etc/$file"
done
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -m 0755 /run/sshd /run/home
mkdir -m 0700 /run/home/root /run/home/openclaw /run/home/guest
chown openclaw:users /run/home/openclaw
chown guest:users /run/home/guest

# As sops-install-secrets does it: a file system that is never swapped, a folder
# for each generation, and a link to the newest.
mkdir -m 0751 /run/secrets-for-users.d
mount -t ramfs -o mode=0751,nodev,nosuid none /run/secrets-for-users.d
chown root:keys /run/secrets-for-users.d
mkdir -m 0751 /run/secrets-for-users.d/1
chown root:keys /run/secrets-for-users.d/1
ln -s /run/secrets-for-users.d/1 /run/secrets-for-users
cp "$folder/ours.pub" "$secret"
chown root:root "$secret"
chmod "$mode" "$secret"

ip link set lo up
# Since 9.8 sshd shuts out for a while who fails to log in, and all attempts come
# from one address; older ones do not know the option.
sshd=$(command -v sshd)
penalties="-o PerSourcePenalties=no"
# shellcheck disable=SC2086 # two words, or none
"$sshd" -t $penalties -f "$folder/sshd_config" 2>"$folder/sshd.log" || penalties=
# shellcheck disable=SC2086
"$sshd" -D $penalties -E "$folder/sshd.log" -f "$folder/sshd_config" &
daemon=$!
trap 'kill "$daemon"' EXIT

# try USER KEY prints who that makes on the server, or "refused".
try() {
    timeout 20 ssh -F /dev/null -p "$port" -i "$folder/$2" -o IdentitiesOnly=yes -o IdentityAgent=none \
        -o BatchMode=yes -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no \
        -o ConnectTimeout=10 "$1@127.0.0.1" id -un 2>"$folder/ssh.log" || echo refused
}

port=$(sed -n 's/^Port //p' "$folder/sshd_config")
for _ in $(seq 100); do
    ssh-keyscan -T 2 -p "$port" 127.0.0.1 2>/dev/null | grep -q . && break
    sleep 0.1
done

echo "root with our key: $(try root ours)"
echo "openclaw with our key: $(try openclaw ours)"
echo "guest with our key: $(try guest ours)"
echo "root with another key: $(try root other)"
echo "openclaw with another key: $(try openclaw other)"

# A key that the service writes into its own home must let nobody in.
mkdir -m 0700 /run/home/openclaw/.ssh
cp "$folder/other.pub" /run/home/openclaw/.ssh/authorized_keys
chown -R openclaw:users /run/home/openclaw/.ssh
echo "openclaw with a key of its own making: $(try openclaw other)"

# sshd must look at the modes of the folders: a writable one shuts all out.
chmod 0777 /run/secrets-for-users.d/1
echo "root while the folder is writable for all: $(try root ours)"
chmod 0751 /run/secrets-for-users.d/1
echo "root when it is not: $(try root ours)"

# A key in the list of one user, as NixOS writes it, opens no other.
mkdir -m 0755 /run/authorized_keys.d
cp "$folder/other.pub" /run/authorized_keys.d/openclaw
chmod 0444 /run/authorized_keys.d/openclaw
echo "openclaw with a key of openclaw's list: $(try openclaw other)"
echo "root with a key of openclaw's list: $(try root other)"
