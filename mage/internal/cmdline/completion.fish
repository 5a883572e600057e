# Completion of PROGRAM for fish: PROGRAM completion fish | source, in
# ~/.config/fish/config.fish.
function FUNCTION
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    MAGEFILE_HASHFAST=1 $words[1] __complete $words[2..-1] "$typed" 2>/dev/null
end
complete -c PROGRAM -f -a '(FUNCTION)'
