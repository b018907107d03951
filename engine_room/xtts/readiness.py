"""Whether cloned voices can speak here, and what mends it where they cannot."""

import importlib.util
import sys

from engine_room.errors import Unavailable
from engine_room.jobs import Status
from engine_room.packages import FETCH
from engine_room.settings import Settings
from engine_room.xtts.folder import (
    CHECKPOINTS,
    CONFIG,
    NAME,
    SPEAKERS,
    VOCABULARY,
    XttsFolder,
    default_folder,
)
from engine_room.xtts.licence import COMMAND, SETTING, is_agreed

# OpenAI's name for better speech: studio speakers where there is an XTTS model, else the fast voices.
HIGH_QUALITY = "tts-1-hd"
LICENCE = "Coqui Public Model License, non-commercial use only"
FILES = f"{CONFIG}, {CHECKPOINTS[0]}, {VOCABULARY} and {SPEAKERS}"


def cloning_status(settings: Settings, folder: XttsFolder | None = None) -> Status:
    """How voice cloning is, by what lies in the folder (none: the default one); nothing is loaded."""
    if not importlib.util.find_spec("TTS"):
        return Status(
            "unavailable",
            "The voice-cloning part (coqui-tts) is not installed.",
            f"Run: {sys.executable} -m pip install -r requirements.txt",
        )
    folder = folder or default_folder(settings.models_dir)
    if not folder.path.is_dir():
        return Status(
            "unavailable",
            f"There is no XTTS model in {folder.path}.",
            f"Run: {FETCH} xtts_v2 (or put {FILES} of coqui/XTTS-v2 there; Coqui Public Model License, "
            "non-commercial).",
        )
    if folder.missing:
        return Status(
            "unavailable",
            f"The XTTS model in {folder.path} has no {', '.join(folder.missing)}.",
            f"Put the missing files into {folder.path}.",
        )
    if not is_agreed(settings, folder.path):
        return Status(
            "unavailable",
            f"XTTS is under the {LICENCE}, and nobody has said that they agree to it.",
            f"Read and answer it with: {COMMAND} (or start with --accept-xtts-license, or set "
            f"{SETTING}=true).",
        )
    return Status("ready")


def standard_folder(model: str, settings: Settings) -> XttsFolder | None:
    """The XTTS model whose studio speakers speak for OpenAI's voices, by OpenAI's name for a speech model;
    None where the fast voices do."""
    folder = default_folder(settings.models_dir)
    if settings.speech_engine == "xtts":
        return folder
    is_better = model == HIGH_QUALITY and cloning_status(settings, folder).state == "ready"
    return folder if is_better else None


def check_ready(settings: Settings, folder: XttsFolder, voice: str) -> None:
    """Raise Unavailable unless a voice could speak by the model in this folder, with the model's name if it
    may be fetched on use: whose licence nobody has agreed to, is not."""
    status = cloning_status(settings, folder)
    if status.state == "ready":
        return
    mend, offer = status.mend, ""
    is_offered = folder.id == NAME and not folder.path.exists() and importlib.util.find_spec("TTS")
    if is_offered and settings.fetch_models == "on_use":
        offer = NAME if settings.accept_xtts_license else ""
        mend = (
            f"It is fetched on use when its licence is agreed to ({LICENCE}): read and answer it with: "
            f"{COMMAND} (or set {SETTING}=true), and start the server again."
        )
    raise Unavailable(f"The voice {voice!r} cannot speak: {status.reason}", mend, offer)
