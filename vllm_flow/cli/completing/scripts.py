"""What a shell is told, once, so that it asks the command whenever somebody presses Tab."""

from __future__ import annotations

# `-o nospace`, because bash would put a space behind `sampling=` too: words that are complete bring their own.
BASH = r"""_vllm_flow() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <("${1/#\~/$HOME}" completion --words bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o nospace -F _vllm_flow vllm-flow
"""
ZSH = r"""#compdef vllm-flow
_vllm_flow() {
    local word about
    local -a open open_shown closed closed_shown
    while IFS=$'\t' read -r word about; do
        if [[ $word == *[=./] ]]; then
            open+=("$word") open_shown+=("$word${about:+  -- $about}")
        else
            closed+=("$word") closed_shown+=("$word${about:+  -- $about}")
        fi
    done < <("${words[1]/#\~/$HOME}" completion --words zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    compadd -S '' -l -d open_shown -a open
    compadd -l -d closed_shown -a closed
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _vllm_flow vllm-flow
"""
FISH = r"""function __vllm_flow
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
    $words[1] completion --words fish $words[2..] "$current" 2>/dev/null
end
complete -c vllm-flow -e
complete -c vllm-flow -f -a '(__vllm_flow)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
