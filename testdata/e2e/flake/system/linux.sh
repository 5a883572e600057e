# Builds the kernel: nothing but its name, which is all that is compared.
# shellcheck shell=sh disable=SC2154 # out and the rest are set by the derivation
mkdir -p "$out/lib/modules/$kernel"
echo "bzImage $kernel" >"$out/bzImage"
echo "initrd $kernel" >"$out/initrd"
