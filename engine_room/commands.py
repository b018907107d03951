"""What `python openai_api.py <command>` does instead of serving; each command is a function elsewhere."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from engine_room.settings import ENV_FILE, Settings
from engine_room.xtts.licence import ask

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended
# Each command of `models`: its arguments, and what it does.
MODELS = {
    "list": ((), "show the models that are here, and those that can be fetched"),
    "search": (("words",), "find models by words, in the catalogue and on the hub"),
    "info": (("name",), "show what is known of a model"),
    "download": (
        ("name", "--yes"),
        "fetch a model: a name of the list, owner/name, owner/name:file",
    ),
    "remove": (("name", "--yes"), "delete a model's files"),
    "use": (
        ("name", "--yes"),
        "have a model answer by default: a name, owner/name, an address, a file or folder of this machine; "
        "`auto`: the best that fits memory",
    ),
    "optimize": (
        ("name", "--type", "--yes"),
        "make a chat model faster on this machine's CPU: a new file with weights of another type, "
        "measured, and kept if it is faster and loses little",
    ),
}
# What `optimize` can make of weights.
TYPES = ("q8_0", "q4_k_m", "iq4_nl", "q4_0")


def run(arguments: Sequence[str], env_file: Path = ENV_FILE) -> None:
    """Run the command that the arguments begin with, and exit with its code. Returns where they begin with
    none, for then they are the server's flags."""
    if arguments and not arguments[0].startswith("-"):
        options = _parser(env_file).parse_args(arguments)
        try:
            sys.exit(options.run(options))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def _parser(env_file: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("openai_api.py", epilog="Without a command: serve (--help).")
    commands = parser.add_subparsers(metavar="command", required=True)
    what = "show the licence of XTTS, the model of cloned voices, and ask whether you agree"
    licence = commands.add_parser("xtts-license", help=what, description=what)
    licence.set_defaults(run=lambda options: ask(env_file))
    what = "find, fetch, remove and choose models"
    models = commands.add_parser("models", help=what, description=what)
    each = models.add_subparsers(metavar="command", required=True)
    for name, (arguments, what) in MODELS.items():
        command = each.add_parser(name, help=what, description=what)
        for argument in arguments:
            if argument == "--yes":
                agree = "ask nothing; of xtts_v2 this agrees to its licence"
                command.add_argument(argument, action="store_true", help=agree)
            elif argument == "--type":
                asked = "make this type, whatever it gains and loses"
                command.add_argument(argument, type=str.lower, choices=TYPES, help=asked)
            else:
                command.add_argument(argument, nargs="+" if argument == "words" else None)
        command.set_defaults(run=lambda options: _models(options, env_file), do=name)
    return parser


def _models(options: argparse.Namespace, env_file: Path) -> int:
    from engine_room.model_commands import ModelCommands  # late: it brings the hub's library

    try:
        settings = Settings(_env_file=env_file)
    except ValidationError as error:
        sys.exit("\n".join(f"Setting {e['loc'][0]}: {e['msg']}." for e in error.errors()))
    return ModelCommands(settings, env_file).run(options)
