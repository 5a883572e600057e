# Runs one program in a container whose inputs arrive as a tar archive on
# standard input.
#
#   sh -c "$this" entry ROOT SIZE GRACE [kexec URL HASH NAME] [print FILE] run PROGRAM ARG...
#
# ROOT is where the archive is unpacked (/, but for tests), SIZE its length in
# bytes, GRACE what the program gets between SIGTERM and SIGKILL, in seconds.
# After the archive, standard input only says that somebody is still there:
# when it ends, the program is ended too. The program itself reads nothing, so
# that an ssh in it cannot eat that input.
#
# kexec: download URL, check it against HASH (SRI), and give the file, named
#        NAME, to the program as its last option, --kexec FILE.
# print: the program's output goes to standard error; after its success FILE
#        is written to standard output.
set -eu
umask 077

die() {
	echo "vps: $*" >&2
	exit 70
}

exec 3<&0 </dev/null
root=${1%/} size=$2 grace=$3
shift 3

# Exactly the archive and not a byte more: tar by itself would wait for the
# end of the input, which comes only when all is over.
head -c "$size" <&3 | tar -C "$root/" -xpf - || die "the archive of inputs did not arrive whole"
[ -e "$root/tmp/vps/complete" ] || die "the archive of inputs did not arrive whole"
PATH=$root/tmp/vps:$PATH
export PATH

kexec_url='' print=''
while [ "$1" != run ]; do
	case $1 in
	kexec) kexec_url=$2 kexec_hash=$3 kexec_name=$4 && shift 4 ;;
	print) print=$2 && shift 2 ;;
	*) die "unknown word $1" ;;
	esac
done
shift

if [ -n "$kexec_url" ]; then
	echo "vps: downloading the kexec image"
	answer=$(nix --extra-experimental-features 'nix-command flakes' store prefetch-file \
		--name "$kexec_name" --json --expected-hash "$kexec_hash" "$kexec_url") ||
		die "the kexec image could not be downloaded, or is not the one with that hash"
	file=${answer##*\"storePath\":\"}
	set -- "$@" --kexec "${file%%\"*}"
fi

if [ -n "$print" ]; then
	"$@" 3<&- >&2 &
else
	"$@" 3<&- &
fi
program=$!
trap 'kill -TERM "$program" 2>/dev/null || :' TERM INT HUP

end_with_input() {
	trap - TERM INT HUP
	cat <&3 >/dev/null
	echo "vps: the client went away, ending the program" >&2
	kill -TERM "$program" 2>/dev/null || return 0
	sleep "$grace"
	kill -KILL "$program" 2>/dev/null || :
}
end_with_input &
watcher=$!

# A signal ends wait early; the program may still be there.
while :; do
	code=0
	wait "$program" || code=$?
	kill -0 "$program" 2>/dev/null || break
done
# Not TERM: a shell that has only just been forked may still hold our trap.
kill -KILL "$watcher" 2>/dev/null || :

if [ "$code" -eq 0 ] && [ -n "$print" ]; then
	cat "$print"
fi
exit "$code"
