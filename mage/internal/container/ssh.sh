#!/bin/sh
# Stands before the real ssh in PATH. OpenSSH takes the first value it is given
# for an option, so what the installer asks for after these does not count:
# above all, it asks to trust any host key, and most of its connections have no
# limit of time.
#
# What it runs on the server ends with its connection: a command that says nothing
# does not notice that nobody listens any more, and would format the disk under
# the next install. Where the server still believes in the connection, the next
# install finds the command by its mark.
own=${0%/*}
mark=@mark@

# Runs on the server: $1 is the command, $2 the mark.
# shellcheck disable=SC2016 # expanded there
guard='(
    exec </dev/null >/dev/null 2>&1
    while [ -d /proc/$$ ]; do
        if [ ! -d /proc/$PPID ]; then
            for signal in TERM KILL; do
                for file in $(grep -al "VPS_INSTALL=$2/$$/" /proc/[0-9]*/environ); do
                    process=${file%/environ}
                    kill -$signal "${process##*/}"
                done
                sleep 2
            done
            exit
        fi
        sleep 1
    done
) &
VPS_INSTALL=$2/$$/
export VPS_INSTALL
exec "${SHELL:-/bin/sh}" -c "$1"'

# takes_value WORD says whether an option of ssh has its value in the next word.
takes_value() {
	letters=${1#-}
	while [ -n "$letters" ]; do
		rest=${letters#?}
		case ${letters%"$rest"} in
		[BbcDEeFIiJLlmOoPpQRSWw])
			[ -z "$rest" ]
			return
			;;
		esac
		letters=$rest
	done
	return 1
}

# Options and the destination stay as they are; the words of the command, which ssh
# puts together with blanks, become one.
left=$# host='' command='' in_command='' subsystem=''
while [ "$left" -gt 0 ]; do
	word=$1
	shift
	left=$((left - 1))
	if [ -n "$in_command" ]; then
		command="$command $word"
		continue
	fi
	case $word in
	--) ;;
	-?*)
		case $word in
		-s) subsystem=1 ;;
		esac
		set -- "$@" "$word"
		if takes_value "$word" && [ "$left" -gt 0 ]; then
			set -- "$@" "$1"
			shift
			left=$((left - 1))
		fi
		;;
	*)
		if [ -z "$host" ]; then
			host=1
			set -- "$@" "$word"
		else
			in_command=1
			command=$word
		fi
		;;
	esac
done

# quoted TEXT sets $quoted to one word of a shell.
quoted() {
	quoted=
	rest=$1
	while :; do
		case $rest in
		*"'"*)
			quoted="$quoted${rest%%"'"*}'\\''"
			rest=${rest#*"'"}
			;;
		*) break ;;
		esac
	done
	quoted="'$quoted$rest'"
}

if [ -n "$in_command" ] && [ -n "$subsystem" ]; then
	set -- "$@" "$command"
elif [ -n "$in_command" ]; then
	quoted "$command"
	set -- "$@" "exec sh -c '$guard' vps $quoted $mark"
fi

folders=$PATH:
while [ -n "$folders" ]; do
	folder=${folders%%:*}
	folders=${folders#*:}
	if [ "$folder" != "$own" ] && [ -x "$folder/ssh" ]; then
		exec "$folder/ssh" \
			-o StrictHostKeyChecking=yes \
			-o UserKnownHostsFile=@known_hosts@ \
			-o GlobalKnownHostsFile=/dev/null \
			-o UpdateHostKeys=no \
			-o HostKeyAlias=@alias@ \
			-o HostName=@address@ \
			-o BatchMode=yes \
			-o ConnectTimeout=15 \
			-o ServerAliveInterval=15 \
			-o ServerAliveCountMax=4 \
			"$@"
	fi
done
echo "vps: no ssh program in this image" >&2
exit 127
