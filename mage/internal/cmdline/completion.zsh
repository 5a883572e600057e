#compdef PROGRAM
# Completion of PROGRAM for zsh: source <(PROGRAM completion zsh) in ~/.zshrc,
# after compinit.
FUNCTION() {
    local -a plain shown open_plain open_shown
    local word doc
    while IFS=$'\t' read -r word doc; do
        [[ -n $word ]] || continue
        if [[ $word == *= ]]; then
            open_plain+=("$word"); open_shown+=("$word${doc:+ -- $doc}")
        else
            plain+=("$word"); shown+=("$word${doc:+ -- $doc}")
        fi
    done < <(MAGEFILE_HASHFAST=1 "${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ! $#plain && ! $#open_plain )); then
        _files
        return
    fi
    (( $#plain )) && compadd -l -d shown -- "${plain[@]}"
    (( $#open_plain )) && compadd -S '' -l -d open_shown -- "${open_plain[@]}"
}
compdef FUNCTION PROGRAM
