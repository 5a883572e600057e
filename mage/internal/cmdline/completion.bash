# shellcheck shell=bash
# Completion of PROGRAM for bash: eval "$(PROGRAM completion bash)" in ~/.bashrc.
FUNCTION() {
    local line=${COMP_LINE:0:COMP_POINT} words word
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    local typed=${words[${#words[@]}-1]}
    # bash breaks words after a colon or an equals sign and before an at sign, and
    # replaces only what comes from there on.
    local kept=${typed%"${typed##*[:=]}"}
    local rest=${typed#"$kept"}
    [[ $rest == *@* ]] && kept+=${rest%@*}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        [[ -n $word ]] || continue
        [[ $word == *= ]] && compopt -o nospace
        COMPREPLY+=("${word#"$kept"}")
    done < <(MAGEFILE_HASHFAST=1 "${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F FUNCTION PROGRAM
