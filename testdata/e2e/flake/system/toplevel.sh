# Builds the system: the files that a real one has and that others read.
# shellcheck shell=sh disable=SC2154 # out and the rest are set by the derivation
echo "building nixos-system-toy-$version" >&2
[ "$buildSeconds" = 0 ] || sleep "$buildSeconds"
if [ -n "$buildFails" ]; then
    echo "toplevel.sh: this build was asked to fail" >&2
    exit 1
fi

mkdir -p "$out/bin" "$out/etc/ssh"
etc=$out/etc/systemd/system
user=$out/etc/systemd/user

# units FROM TO copies unit files and makes the links that [Install] asks for.
units() {
    mkdir -p "$2"
    for unit in "$1"/*; do
        cp "$unit" "$2/"
        sed -n "s|^WantedBy=||p" "$unit" | while read -r target; do
            mkdir -p "$2/$target.wants"
            ln -s "../${unit##*/}" "$2/$target.wants/${unit##*/}"
        done
    done
}

if [ -n "$sshEnable" ]; then
    cat >"$out/etc/ssh/sshd_config" <<EOF
Port $sshPort
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /run/secrets-for-users/ssh-public-key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv PATH=/run/wrappers/bin:/run/current-system/sw/bin
EOF
    # KillMode as NixOS has it: a restart leaves those who are logged in alone.
    sshd=$NIX_BUILD_TOP/sshd
    mkdir "$sshd"
    cat >"$sshd/sshd.service" <<EOF
[Unit]
Description=SSH Daemon
After=network.target

[Service]
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
ExecStartPre=/bin/sh -c 'test -e /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStart=/usr/sbin/sshd -D -f $out/etc/ssh/sshd_config
KillMode=process
Restart=always

[Install]
WantedBy=multi-user.target
EOF
    units "$sshd" "$etc"
fi
units "$units" "$etc"
units "$userUnits" "$user"

cat >"$out/etc/os-release" <<EOF
NAME=NixOS
ID=nixos
VERSION_ID="26.05"
VERSION="26.05 (toy)"
PRETTY_NAME="NixOS 26.05 (toy)"
EOF

printf '%s' "$version" >"$out/nixos-version"
printf '%s' "$platform" >"$out/system"
printf '%s' "$initInterfaceVersion" >"$out/init-interface-version"
printf '%s' "$inhibitors" >"$out/switch-inhibitors"
ln -s "$systemPath" "$out/sw"
ln -s /usr "$out/systemd"
ln -s "$linux/bzImage" "$out/kernel"
ln -s "$linux/initrd" "$out/initrd"
ln -s "$linux" "$out/kernel-modules"

# What only the toy's own scripts read.
mkdir "$out/toy"
printf '%s' "$conf" >"$out/toy/conf"
printf '%s' "$secretLines" >"$out/toy/secrets"
printf '%s' "$inhibitorLines" >"$out/toy/inhibitors"

for script in init activate switch; do
    eval "source=\$$script"
    target=$script
    [ "$script" != switch ] || target=bin/switch-to-configuration
    sed "s|@out@|$out|g" "$source" >"$out/$target"
    chmod 0755 "$out/$target"
done
