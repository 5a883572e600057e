#!/bin/sh
# Plays uname for the played server.
arch=@ARCH@
name=@HOSTNAME@
out=
[ $# -gt 0 ] || set -- -s
for word in "$@"; do
    case $word in
    -m) out="$out $arch" ;;
    -n) out="$out $name" ;;
    -s) out="$out Linux" ;;
    -r) out="$out 6.12.0" ;;
    -a) out="$out Linux $name 6.12.0 #1-NixOS SMP $arch GNU/Linux" ;;
    *)
        echo "uname: unknown option $word" >&2
        exit 1
        ;;
    esac
done
echo "${out# }"
