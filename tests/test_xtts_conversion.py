"""Converted files are made whole or not at all, and known to be whole or not."""

import os
import subprocess
import sys
from pathlib import Path

from engine_room.xtts.conversion import MadeFrom, make

SOURCE = MadeFrom("0123", "q8_0")


def write(folder: Path) -> None:
    """Something to keep."""
    (folder / "gpt.gguf").write_bytes(b"GGUF")


def test_what_a_crash_left_of_a_conversion_goes_with_the_next_and_what_others_write_stays(
    tmp_path: Path,
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    running = f".converted.{os.getppid()}.partial"
    for name in (running, *(f".converted.{pid}.partial" for pid in (dead.pid, os.getpid(), "x"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gpt.gguf").write_bytes(b"half")
    make(tmp_path / "converted", SOURCE, write)
    assert {path.name for path in tmp_path.iterdir()} == {"converted", running}
    assert (tmp_path / "converted" / "gpt.gguf").read_bytes() == b"GGUF"
