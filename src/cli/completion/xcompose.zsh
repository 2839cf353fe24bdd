#compdef xcompose
# Completion of xcompose for zsh: source this after compinit, or put it into a folder of $fpath as _xcompose.
_xcompose() {
    local -a lines found open
    local line directive word
    lines=("${(@f)$(xcompose __complete "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null)}")
    directive=${lines[-1]#:}
    for line in "${(@)lines[1,-2]}"; do
        word=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            found+=("${word//:/\\:}:${line#*$'\t'}")
        else
            found+=("${word//:/\\:}")
        fi
    done
    ((directive & 2)) && open=(-S '')
    if (($#found)); then
        _describe xcompose found $open
    elif ((!(directive & 4))); then
        _files
    fi
}
compdef _xcompose xcompose
