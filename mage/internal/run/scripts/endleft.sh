# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh goes before it, and the laptop's variables
# Ends what an interrupted install of ours left at work here: all processes whose
# mark begins with PROJECT. Prints "ended=PID" for each, "stays=PID" for what does
# not end, and "end".
PATH=$PATH:$ROOT/run/current-system/sw/bin

# left prints the processes that are left.
left() {
    # shellcheck disable=SC2013 # one word each
    for file in $(grep -al "VPS_INSTALL=$PROJECT/" "$ROOT"/proc/[0-9]*/environ 2>/dev/null); do
        process=${file%/environ}
        # A zombie has ended; who collects it is not our business.
        case $(sed -n 's/^State:[[:space:]]*//p' "$process/status" 2>/dev/null) in
        '' | Z*) ;;
        *) echo "${process##*/}" ;;
        esac
    done
}

all=$(left)
for signal in TERM KILL; do
    # shellcheck disable=SC2046 # one word each
    [ -z "$all" ] || kill -$signal $(left) 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$(left)" ] || break
        sleep 0.5
    done
done
for process in $all; do
    echo "ended=$process"
done
for process in $(left); do
    echo "stays=$process"
done
echo end
