"""XTTS's licence: what it says in words, asking whether the user agrees to it, and where the answer is kept.

Asked on a terminal by a command of its own, or by the page before a download; never by the server as it
starts, for nobody may be there.
"""

import os
import sys
from pathlib import Path

from engine_room.settings import ENV_FILE, Settings, keep_setting

SETTING = "ACCEPT_XTTS_LICENSE"
COMMAND = f"{sys.executable} openai_api.py xtts-license"
# In a model's folder: its licence was agreed to. Coqui's own programs write this file, with this sentence.
AGREED_FILE = "tos_agreed.txt"
AGREED = "I have read, understood and agreed to the Terms and Conditions."
TERMS = """\
XTTS, the model that speaks in cloned voices, is under the Coqui Public Model License 1.0.0. In short:

- Only non-commercial use is allowed, of the model and of the speech it makes: personal, for study, research,
  testing or hobby. Whatever earns money, directly or not, is commercial.
- Whoever gets a copy of the model or of its speech from you must get this licence too, or its address.

The licence itself is what counts: https://coqui.ai/cpml (also LICENSE.txt of coqui/XTTS-v2 on Hugging Face).
"""


def answer(settings: Settings) -> bool | None:
    """What the setting says; None where nobody has set it."""
    return settings.accept_xtts_license if SETTING.lower() in settings.model_fields_set else None


def is_agreed(settings: Settings, folder: Path) -> bool:
    """Whether the licence of the model in a folder is agreed to: by the setting, else by the file in it."""
    said = answer(settings)
    return (folder / AGREED_FILE).is_file() if said is None else said


def keep_agreement(folder: Path) -> None:
    """Note in a model's folder that its licence was agreed to. Raises OSError."""
    (folder / AGREED_FILE).write_text(AGREED, "utf-8")


def ask(env_file: Path = ENV_FILE) -> int:
    """Show the licence, ask on the terminal, and keep the answer for the server's next start. The exit code:
    0 when they agree, 1 when they do not, could not be asked, or the answer could not be kept."""
    print(TERMS)
    if not sys.stdin.isatty():
        print(
            f"To agree without a terminal: set {SETTING}=true in the environment or in {env_file}."
        )
        return 1
    try:
        agrees = input("Do you agree to it? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was changed.")
        return 1
    try:
        keep_setting(SETTING, str(agrees).lower(), env_file)
    except OSError as error:
        print(f"The answer cannot be kept in {env_file} ({error.strerror}).")
        return 1
    effect = "speak" if agrees else "do not speak"
    print(f"Kept in {env_file}: cloned voices {effect} from the server's next start on.")
    if SETTING in os.environ:
        print(f"But {SETTING}={os.environ[SETTING]} is set in the environment, which wins over it.")
    return 0 if agrees else 1
