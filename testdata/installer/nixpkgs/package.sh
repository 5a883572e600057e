# Builds the nixos-anywhere stand-in.
# shellcheck shell=sh disable=SC2154 # out and the rest are set by the derivation
mkdir -p "$out/bin" "$out/libexec" "$out/tools" kexec
cp "$main" "$out/libexec/nixos-anywhere.sh"
cp "$facts" "$out/libexec/facts.sh"
cp "$kexec" kexec/run
chmod 0755 "$out/libexec/nixos-anywhere.sh" kexec/run
tar -czf "$out/libexec/kexec.tar.gz" kexec

# Like the real wrapper: its own tools first, then the caller's PATH, and an ssh
# only at the very end, so that the caller's is taken.
for tool in awk cat chmod cp curl date dirname env find grep id mkdir mktemp printf rm sed sleep sort tar tee timeout tr uname wc; do
    [ ! -x "/usr/bin/$tool" ] || ln -s "/usr/bin/$tool" "$out/tools/$tool"
done
cat >"$out/bin/nixos-anywhere" <<END
#!/bin/sh
PATH=$out/tools:\$PATH:/usr/bin
export PATH
exec /bin/bash $out/libexec/nixos-anywhere.sh "\$@"
END
chmod 0755 "$out/bin/nixos-anywhere"
