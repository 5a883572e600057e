# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # lib.sh and the other parts of the supervisor
# --- what a new login sees ------------------------------------------------------

# probe SECONDS PATH... prints what a new login sees of the new system: which secrets of
# the run and which of the paths are missing, and which units are in trouble after
# some seconds. Then it passes the laptop's verdict on.
probe() {
    settle=$1
    shift
    resolve "$ROOT/run/current-system"
    printf 'current=%s\nwanted=%s\n' "$resolved" "$new"
    lacking "$new"
    [ ! -f "$run/secrets" ] || while IFS= read -r path; do
        [ -z "$path" ] || [ -e "$ROOT$path" ] || printf 'missing=%s\n' "$path"
    done <"$run/secrets"
    for path; do
        [ -e "$ROOT$path" ] || printf 'missing=%s\n' "$path"
    done
    watch "$settle"
    echo probed=1
    IFS= read -r verdict || exit 0
    case $verdict in
    confirm)
        : >"$run/confirmed"
        ring
        echo confirmed=1
        ;;
    reject*)
        printf '%s\n' "${verdict#reject }" >"$run/rejected.new"
        mv "$run/rejected.new" "$run/rejected"
        ring
        echo rejected=1
        ;;
    esac
}

# --- the units of the new system -----------------------------------------------------

# watch SECONDS prints the units that are in trouble when the time is over and were
# not before the switch: as "unit" if the new system declares them, as "other" if not,
# which nobody is to roll back for. Trouble that has passed by then is none, unless it
# comes back again and again.
watch() {
    seen=
    waited=0
    troubled >"$run/troubled.now"
    while [ "$waited" -lt "$1" ]; do
        newly remember
        waited=$((waited + 1))
        sleep 1
        troubled >"$run/troubled.now"
    done
    newly told_unit
    each_line restarting '' "$seen"
}

# newly COMMAND calls it for each line of troubled.now that is not in troubled.
newly() {
    while read -r scope unit sub; do
        before=
        while read -r scope_ unit_ _; do
            [ "$scope $unit" != "$scope_ $unit_" ] || before=1
        done <"$run/troubled"
        [ -n "$before" ] || "$1" "$scope" "$unit" "$sub"
    done <"$run/troubled.now"
}

# remember SCOPE UNIT keeps how often a unit had been restarted when it was first seen
# in trouble.
remember() {
    case $newline$seen in *"$newline$1 $2 "*) return ;; esac
    restarts "$1" "$2"
    seen="$seen$1 $2 $restarts$newline"
}

# restarts SCOPE UNIT sets $restarts to how often its manager has restarted it by
# itself, or to nothing.
restarts() {
    restarts=
    [ "$1" = system ] || return 0
    restarts=$(systemctl show --property=NRestarts --value -- "$2" </dev/null 2>/dev/null)
    case $restarts in *[!0-9]*) restarts= ;; esac
}

# restarting _ LINE tells of a unit that just now is well, between two failures.
restarting() {
    unset IFS
    # shellcheck disable=SC2086 # words are what is wanted
    set -- $2
    first=${3-}
    [ -n "$first" ] || return 0
    while read -r scope unit _; do
        [ "$scope $unit" != "$1 $2" ] || return 0 # told already
    done <"$run/troubled.now"
    restarts "$1" "$2"
    [ "${restarts:-0}" -lt "$((first + 2))" ] || told_unit "$1" "$2" restarting
}

# told_unit SCOPE UNIT STATE
told_unit() {
    judged=other
    ! declared "$1" "$2" || [ "$3" = unanswered ] || unanswered_before "$1" || judged=unit
    printf '%s=%s %s %s\n' "$judged" "$1" "$2" "$3"
}

# unanswered_before SCOPE: it is not known how that user's units were before.
unanswered_before() {
    while read -r scope_ _ sub_; do
        [ "$scope_ $sub_" != "$1 unanswered" ] || return 0
    done <"$run/troubled"
    return 1
}

# declared SCOPE UNIT says whether the new system has the unit: in /etc, from its
# fstab, or of a user's home that it makes. A user's own files prove nothing.
declared() {
    file=$2
    case $2 in *@*.*) file=${2%%@*}@.${2##*.} ;; esac
    if [ "$1" = system ]; then
        set -- "$2" "$file" "$new/etc/systemd/system" \
            "$ROOT"/run/systemd/generator "$ROOT"/run/systemd/generator.early "$ROOT"/run/systemd/generator.late
    else
        home_units "${1#user:}"
        # shellcheck disable=SC2086 # words
        set -- "$2" "$file" "$new/etc/systemd/user" "$new/sw/share/systemd/user" \
            "$new/etc/profiles/per-user/${1#user:}/share/systemd/user" $home_units
    fi
    unit_=$1
    shift 2
    for dir; do
        if [ -e "$dir/$unit_" ] || [ -L "$dir/$unit_" ] || [ -e "$dir/$file" ]; then return 0; fi
    done
    return 1
}

# home_units USER sets $home_units to the folder of units that Home Manager, as a part
# of the new system, gives a user: its generation is what the user's unit activates.
home_units() {
    home_units=
    [ ! -f "$new/etc/systemd/system/home-manager-$1.service" ] || while read -r line; do
        case $line in ExecStart=*) ;; *) continue ;; esac
        for word in $line; do
            [ ! -d "$word/home-files/.config/systemd/user" ] ||
                home_units=$word/home-files/.config/systemd/user
        done
    done <"$new/etc/systemd/system/home-manager-$1.service"
}
