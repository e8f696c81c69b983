"""npuctl completion: what a shell needs to complete npuctl's command line.

The scripts are made from the argument parser and hold all words themselves: pressing Tab starts no Python.
`command_tree` is also what docs/reference/cli.md is made from.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

HELP = "Print a completion script for bash, zsh or fish."
EXAMPLE = "npuctl completion bash > /etc/bash_completion.d/npuctl"

_SHELLS = ("bash", "zsh", "fish")
# What a value is, told from the word that stands for it in the help.
_FILES = frozenset({"FILE"})
_FOLDERS = frozenset({"DIR", "inventory"})


class Option(NamedTuple):
    """One option, or one positional argument (then `flags` is empty).

    Attributes:
        value: the word that stands for its value; empty for a switch.
        needed: a positional argument that cannot be left out.
    """

    flags: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str
    needed: bool = False


class Command(NamedTuple):
    """npuctl, a verb, or an action of a verb; `path` is empty for npuctl itself."""

    path: tuple[str, ...]
    aliases: tuple[str, ...]
    help: str
    example: str
    options: tuple[Option, ...]
    arguments: tuple[Option, ...]
    commands: tuple[Command, ...]

    def names(self) -> tuple[str, ...]:
        """The last word of the path, and its aliases."""
        return (*self.path[-1:], *self.aliases)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("shell", choices=_SHELLS, help="which shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from npuctl.cli.parser import build_parser

    tree = command_tree(build_parser())
    print({"bash": bash_script, "zsh": zsh_script, "fish": fish_script}[options.shell](tree), end="")
    return 0


# The parser as data. argparse keeps its actions in attributes with an underscore and has no other way to
# list them; they have not changed since Python 2.7.


def command_tree(
    parser: argparse.ArgumentParser,
    path: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    summary: str = "",
) -> Command:
    """A parser with everything below it."""
    options: list[Option] = []
    arguments: list[Option] = []
    commands: list[Command] = []
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            commands += _subcommands(action, path)
        elif action.option_strings:
            options.append(_option(action))
        else:
            arguments.append(_option(action))
    example = (parser.epilog or "").removeprefix("example: ")
    summary = summary or parser.description or ""
    return Command(path, aliases, summary, example, tuple(options), tuple(arguments), tuple(commands))


def _subcommands(
    action: argparse._SubParsersAction[argparse.ArgumentParser], path: tuple[str, ...]
) -> Iterator[Command]:
    helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
    for name, summary in helps.items():
        parser = action.choices[name]
        aliases = tuple(word for word, other in action.choices.items() if other is parser and word != name)
        yield command_tree(parser, (*path, name), aliases, summary)


def _option(action: argparse.Action) -> Option:
    value = ""
    if action.nargs != 0:
        value = action.metavar if isinstance(action.metavar, str) else action.dest
        value = value.upper() if action.option_strings else value
    choices = tuple(str(choice) for choice in action.choices or ())
    needed = not action.option_strings and action.nargs not in {"?", "*"}
    return Option(tuple(action.option_strings), value, choices, action.help or "", needed)


def _walk(command: Command) -> Iterator[Command]:
    yield command
    for below in command.commands:
        yield from _walk(below)


def _paths(tree: Command) -> Iterator[tuple[str, Command]]:
    """Every way to write a command, aliases too; "" for npuctl itself."""
    for command in _walk(tree):
        parents = " ".join(command.path[:-1])
        for name in command.names() or ("",):
            yield f"{parents} {name}".strip(), command


def _steps(tree: Command) -> list[str]:
    """`PATH WORD` wherever a word leads one command deeper."""
    return [
        f"{path} {name}"
        for path, command in _paths(tree)
        for below in command.commands
        for name in below.names()
    ]


# bash


def bash_script(tree: Command) -> str:
    """The script for bash 4.4 or newer."""
    steps = "|".join(f'"{step}"' for step in _steps(tree))
    values = "\n".join(_bash_values(tree))
    words = "\n".join(_bash_words(tree))
    return f"""# bash completion for npuctl; written by `npuctl completion bash`.
_npuctl() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path='' options='' words='' kind='' i
  if [[ $cur == '=' ]]; then cur=''; elif [[ $prev == '=' ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
      {steps}) path="${{path:+$path }}${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$path $prev" in
{values}
    *)
      case "$path" in
{words}
      esac
      if [[ $cur == -* ]]; then words=$options kind=''; fi ;;
  esac
  case $kind in
    file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
  esac
}}
complete -F _npuctl npuctl
"""


def _bash_values(tree: Command) -> Iterator[str]:
    for path, command in _paths(tree):
        for option in command.options:
            if option.value:
                flags = "|".join(f'"{path} {flag}"' for flag in option.flags)
                yield f"    {flags}) words='{' '.join(option.choices)}' kind={_kind(option) or 'none'} ;;"


def _bash_words(tree: Command) -> Iterator[str]:
    for path, command in _paths(tree):
        flags = " ".join(flag for option in command.options for flag in option.flags)
        names = [name for below in command.commands for name in below.names()]
        names += [choice for argument in command.arguments for choice in argument.choices]
        kind = next((_kind(argument) for argument in command.arguments), "")
        yield f"        \"{path}\") options='{flags}' words='{' '.join(names)}' kind={kind or 'none'} ;;"


def _kind(option: Option) -> str:
    if option.value in _FILES:
        return "file"
    return "folder" if option.value in _FOLDERS else ""


# zsh


def zsh_script(tree: Command) -> str:
    """The script for zsh 5: in a folder of $fpath as _npuctl, or read by eval."""
    functions = "\n".join(_zsh_function(command) for command in _walk(tree))
    return f"""#compdef npuctl
# zsh completion for npuctl; written by `npuctl completion zsh`.
{functions}
if [[ $funcstack[1] == _npuctl ]]; then _npuctl "$@"; else compdef _npuctl npuctl; fi
"""


def _zsh_function(command: Command) -> str:
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    name = "_".join(("_npuctl", *command.path))
    if not command.commands:
        specs += [f"':{argument.value}:{_zsh_action(argument)}'" for argument in command.arguments]
        body = " \\\n    ".join(["_arguments", *specs])
        return f"{name}() {{\n  {body}\n}}"
    body = " \\\n    ".join(["_arguments -C", *specs, "'1: :->word'", "'*:: :->rest'"])
    described = " ".join(
        f"'{word}:{_zsh_text(below.help)}'" for below in command.commands for word in below.names()
    )
    cases = "\n".join(
        f"      {'|'.join(below.names())}) {'_'.join(('_npuctl', *below.path))} ;;"
        for below in command.commands
    )
    return f"""{name}() {{
  local line state
  local -a words_here=({described})
  {body}
  case $state in
    word) _describe command words_here ;;
    rest) case $line[1] in
{cases}
      esac ;;
  esac
}}"""


def _zsh_option(option: Option) -> Iterator[str]:
    value = f":{option.value}:{_zsh_action(option)}" if option.value else ""
    for flag in option.flags:
        yield f"'{flag}[{_zsh_text(option.help)}]{value}'"


def _zsh_action(option: Option) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    return {"file": "_files", "folder": "_files -/", "": " "}[_kind(option)]


def _zsh_text(text: str) -> str:
    for mark in "\\[]:":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("'", "'\\''")


# fish


def fish_script(tree: Command) -> str:
    """The script for fish 3."""
    steps = " ".join(f"'{step}'" for step in _steps(tree))
    lines = "\n".join(line for path, command in _paths(tree) for line in _fish_lines(path, command))
    return f"""# fish completion for npuctl; written by `npuctl completion fish`.
function __npuctl_at
    set -l path
    for word in (commandline -opc)[2..]
        switch "$path $word"
            case {steps}
                set path (string trim "$path $word")
        end
    end
    test "$path" = "$argv[1]"
end
complete -c npuctl -f
{lines}
"""


def _fish_lines(path: str, command: Command) -> Iterator[str]:
    at = f"complete -c npuctl -n '__npuctl_at \"{path}\"'"
    for below in command.commands:
        for name in below.names():
            yield f"{at} -a {name} -d {_fish_text(below.help)}"
    for argument in command.arguments:
        if argument.choices:
            yield f"{at} -a '{' '.join(argument.choices)}' -d {_fish_text(argument.help)}"
        elif _kind(argument):
            yield f"{at} -a '(__fish_complete_directories)' -d {_fish_text(argument.value)}"
    for option in command.options:
        flags = " ".join(
            f"-l {flag.removeprefix('--')}" if flag.startswith("--") else f"-s {flag.removeprefix('-')}"
            for flag in option.flags
        )
        value = f" -xa '{' '.join(option.choices)}'" if option.choices else " -x" if option.value else ""
        value = {"file": " -rF", "folder": " -xa '(__fish_complete_directories)'"}.get(_kind(option), value)
        yield f"{at} {flags}{value} -d {_fish_text(option.help)}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
