# shellcheck shell=bash
# Completion of PROGRAM for bash: eval "$(PROGRAM completion bash)" in ~/.bashrc.
FUNCTION() {
    local line=${COMP_LINE:0:COMP_POINT} words word
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    local typed=${words[${#words[@]}-1]}
    # bash breaks words at these, and replaces only what comes after the last.
    local kept=${typed%"${typed##*[:=@]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        [[ -n $word ]] || continue
        [[ $word == *= ]] && compopt -o nospace
        COMPREPLY+=("${word#"$kept"}")
    done < <(MAGEFILE_HASHFAST=1 "${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F FUNCTION PROGRAM
