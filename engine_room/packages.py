"""Installed Python packages: where one lies, how to install them again, and how to fetch a model."""

import importlib.util
import sys
from pathlib import Path

# The very Python that serves: a plain pip would install somewhere else.
PIP = f"{sys.executable} -m pip"
FETCH = f"{sys.executable} openai_api.py models download"
USE = f"{sys.executable} openai_api.py models use"
OPTIMIZE = f"{sys.executable} openai_api.py models optimize"
REINSTALL = f"Run: {PIP} install -r requirements.txt"


def package_dir(package: str) -> Path | None:
    """Where an installed package lies, without importing it (importing some pulls in their tools)."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
