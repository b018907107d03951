"""Voice cloning with XTTS."""
