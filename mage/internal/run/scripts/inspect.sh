# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it
# Prints what check wants to know beyond the facts, as KEY=VALUE lines, ending
# with "end": whether a reboot is pending, and the certificates that the server
# got for itself (public data, the first one of each file). Changes nothing.
PATH=$ROOT/run/current-system/sw/bin:$PATH

# A kernel, its modules and the initrd become active by a reboot only.
for part in kernel kernel-modules initrd; do
    new=$(readlink -f "$ROOT/run/current-system/$part")
    [ -e "$new" ] || continue
    [ "$new" = "$(readlink -f "$ROOT/run/booted-system/$part")" ] || printf 'reboot=%s\n' "$part"
done

count=0
for file in "$ROOT"/var/lib/acme/*/cert.pem; do
    [ -f "$file" ] || continue
    [ "$count" -lt 100 ] || break
    count=$((count + 1))
    printf 'certificate=%s\n' "${file#"$ROOT"}"
    lines=0
    while IFS= read -r line && [ "$lines" -lt 200 ]; do
        lines=$((lines + 1))
        printf 'pem=%s\n' "$line"
        case $line in *"END CERTIFICATE"*) break ;; esac
    done <"$file"
done
echo end
