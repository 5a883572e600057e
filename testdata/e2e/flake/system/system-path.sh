# Builds sw: every program of Debian, and the stand-ins that Debian lacks.
# shellcheck shell=sh disable=SC2154 # out and the rest are set by the derivation
mkdir -p "$out/bin"
ln -s /usr/bin/* /usr/sbin/* "$out/bin/" 2>/dev/null || :
for program in rebuild:nixos-rebuild version:nixos-version upgrade:toy-upgrade; do
    eval "source=\$${program%%:*}"
    install -m 0755 "$source" "$out/bin/${program#*:}"
done
rm "$out/bin/mv" "$out/bin/nix-env" "$out/bin/sync"
install -m 0755 "$stoppable" "$out/bin/mv"
ln -s mv "$out/bin/nix-env"
ln -s mv "$out/bin/sync"
