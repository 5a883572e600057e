#!/bin/sh
# Plays id for the users of the played server.
name=@USER@
[ -z "${SUDO_USER-}" ] || name=root
what=
for word in "$@"; do
    case $word in
    -*) what=$what${word#-} ;;
    *) name=$word ;;
    esac
done
while IFS=: read -r user _ uid gid _; do
    [ "$user" = "$name" ] || [ "$uid" = "$name" ] || continue
    case $what in
    u) echo "$uid" ;;
    g | G) echo "$gid" ;;
    un | nu) echo "$user" ;;
    gn | ng) echo "$user" ;;
    *) echo "uid=$uid($user) gid=$gid($user) groups=$gid($user)" ;;
    esac
    exit 0
done <@ROOT@/etc/passwd
echo "id: '$name': no such user" >&2
exit 1
