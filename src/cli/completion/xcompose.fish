# Completion of xcompose for fish: source this, or put it into ~/.config/fish/completions.
function __xcompose_candidates
    set -l words (commandline -opc)
    set -e words[1]
    xcompose __complete $words (commandline -ct) 2>/dev/null | string match -rv '^:[0-9]+$'
end
function __xcompose_wants_files
    set -l words (commandline -opc)
    set -e words[1]
    set -l answer (xcompose __complete $words (commandline -ct) 2>/dev/null)
    test "$answer[-1]" = ":0"
end
complete -c xcompose -f -a '(__xcompose_candidates)'
complete -c xcompose -n __xcompose_wants_files -F
