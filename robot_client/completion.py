"""Shell completion for an argparse command: a script made from its parser, for three shells.

The script holds all that can be completed, so that no Python is started at the keyboard.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class Words:
    """What may stand behind a command.

    Args:
        command: its name.
        about: what it does.
        options: long options, each with its help.
        names: what its positional arguments may be, as far as that is known.
    """

    command: str
    about: str
    options: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def script(parser: argparse.ArgumentParser, shell: Shell, names: Sequence[str]) -> str:
    """What a shell is to read at its start.

    Args:
        parser: of the command, with its commands one level below.
        shell: that is to read it.
        names: offered for positional arguments called `robot`.
    """
    found = list(_words(parser, names))
    if shell == "fish":
        return "\n".join(_fish(parser.prog, found)) + "\n"
    begin = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return begin + "\n".join(_bash(parser.prog, found)) + "\n"


def _words(parser: argparse.ArgumentParser, names: Sequence[str]) -> Iterator[Words]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {each.dest: each.help or "" for each in action._choices_actions}
            for name, command in action.choices.items():
                yield _of_command(name, about.get(name, ""), command, names)


def _of_command(
    name: str, about: str, command: argparse.ArgumentParser, names: Sequence[str]
) -> Words:
    options, known = [], []
    for action in command._actions:
        long = [option for option in action.option_strings if option.startswith("--")]
        options += [(option, (action.help or "").partition("(")[0].strip()) for option in long]
        if not action.option_strings:
            known += list(action.choices or (names if action.dest == "robot" else ()))
    return Words(name, about, tuple(options), tuple(map(str, known)))


def _bash(prog: str, found: Sequence[Words]) -> Iterator[str]:
    function = f"_{prog.replace('-', '_')}"
    yield f"{function}() {{"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" offered=""'
    yield '    if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f"        offered={shlex.quote(' '.join(each.command for each in found))}"
    yield "    else"
    yield '        case "${COMP_WORDS[1]}" in'
    for each in found:
        words = " ".join([*(option for option, _ in each.options), *each.names])
        yield f"            {each.command}) offered={shlex.quote(words)} ;;"
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$offered" -- "$word"))'
    yield "}"
    yield f"complete -o default -F {function} {prog}"


def _fish(prog: str, found: Sequence[Words]) -> Iterator[str]:
    for each in found:
        about = shlex.quote(each.about)
        yield f"complete -c {prog} -n __fish_use_subcommand -a {each.command} -d {about}"
        here = f"complete -c {prog} -n '__fish_seen_subcommand_from {each.command}'"
        for option, text in each.options:
            yield f"{here} -l {option[2:]} -d {shlex.quote(text)}"
        if each.names:
            yield f"{here} -a {shlex.quote(' '.join(each.names))}"
