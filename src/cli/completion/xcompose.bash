# Completion of xcompose for bash: source this, or put it into /etc/bash_completion.d.
_xcompose() {
    local current="${COMP_WORDS[COMP_CWORD]}" answer directive word
    COMPREPLY=()
    # A colon ends words in bash, but not in ours.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local words cword cur
        _get_comp_words_by_ref -n "=:" cur words cword
        current="$cur"
        answer=$(xcompose __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null)
    else
        answer=$(xcompose __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$current" 2>/dev/null)
    fi
    directive=${answer##*:}
    while IFS=$'\t' read -r word _; do
        [[ -n $word && $word != :[0-9]* && $word == "$current"* ]] && COMPREPLY+=("$word")
    done <<<"$answer"
    if ((directive & 2)); then compopt -o nospace; fi
    if ((!(directive & 4) && ${#COMPREPLY[@]} == 0)); then compopt -o default; fi
}
complete -F _xcompose xcompose
