"""What `python openai_api.py <command>` does instead of serving; each command is a function elsewhere."""

import argparse
import sys
from collections.abc import Sequence

from engine_room.xtts.licence import ask


def run(arguments: Sequence[str]) -> None:
    """Run the command that the arguments begin with, and exit with its code. Returns where they begin with
    none, for then they are the server's flags."""
    if arguments and not arguments[0].startswith("-"):
        options = _parser().parse_args(arguments)
        sys.exit(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("openai_api.py", epilog="Without a command: serve (--help).")
    commands = parser.add_subparsers(metavar="command", required=True)
    what = "show the licence of XTTS, the model of cloned voices, and ask whether you agree"
    licence = commands.add_parser("xtts-license", help=what, description=what)
    licence.set_defaults(run=lambda options: ask())
    return parser
