"""`stepwell completion`: the scripts that let a shell complete commands. click makes them; this adds what they lack."""

from collections.abc import Mapping
from typing import Final

import click
from click.shell_completion import get_completion_class

_PROGRAM = "stepwell"

# bash divides words at "@", but completes both parts together. The function joins them for click.
_AFTER: Final[Mapping[str, str]] = {
    "bash": """
_stepwell_completion_at() {
    local words=("${COMP_WORDS[@]}") last=$COMP_CWORD
    if (( last > 0 )) && [[ ${words[last - 1]} == @ ]]; then
        words=("${words[@]:0:last - 1}" "@${words[last]}")
        last=$((last - 1))
    fi
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$last
    _stepwell_completion "$@"
}

complete -o nosort -F _stepwell_completion_at stepwell
"""
}
# A shell without a configuration has not loaded zsh's completion.
_BEFORE: Final[Mapping[str, str]] = {
    "zsh": """#compdef stepwell

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
"""
}


def completion_script(cli: click.Command, shell: str) -> str:
    """Return the script for *shell*: bash, zsh or fish."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source()
    return _BEFORE.get(shell, "") + script + _AFTER.get(shell, "")
