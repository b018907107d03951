"""`python openai_api.py models …`, each run as a user runs it, on a small hub."""

import importlib
import os
import random
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from tests.conftest import PROJECT_DIR
from tests.local_hub import LocalHub, Repo, local_hub
from tests.vision_models import write_model

DATA = random.Random(0).randbytes(300_000)
MINE = '[[model]]\nid = "mine"\nkind = "chat"\nrepository = "me/mine"\nfiles = ["mine-Q4_0.gguf"]\n'
# As openai_api.py does, with another file than the project's own to keep settings in.
RUN = (
    "import sys; from pathlib import Path; from engine_room import commands; "
    "commands.run(sys.argv[2:], Path(sys.argv[1]))"
)


class Desk:
    """Someone at a shell, with a hub, a folder of models and an `.env` of their own."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub = hub
        self.models = folder / "models"
        self.env_file = folder / ".env"
        self.models.mkdir()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", RUN, str(self.env_file), "models", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        mine = {"HF_ENDPOINT": self.hub.url, "MODELS_DIR": str(self.models), **more}
        left_out = ("HF_TOKEN", "HF_HUB_OFFLINE", "ACCEPT_XTTS_LICENSE", "CHAT_MODEL")
        return {key: value for key, value in os.environ.items() if key not in left_out} | mine

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code, and all that was said, without a terminal."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=PROJECT_DIR,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def at_a_terminal(self, typed: str, *arguments: str) -> tuple[int, str]:
        """The same on a terminal, on which something is typed."""
        pty = pytest.importorskip("pty", reason="there are terminals of another kind")
        ours, theirs = pty.openpty()
        size = struct.pack("HHHH", 25, 100, 0, 0)
        importlib.import_module("fcntl").ioctl(
            theirs, importlib.import_module("termios").TIOCSWINSZ, size
        )
        try:
            os.write(ours, typed.encode())
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=PROJECT_DIR,
                env=self.environment(),
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=theirs,
                text=True,
            )
            said, _ = process.communicate(timeout=60)
            os.set_blocking(ours, False)
            return process.returncode, said + os.read(ours, 100_000).decode()
        finally:
            os.close(ours)
            os.close(theirs)

    def settings(self) -> str:
        return self.env_file.read_text() if self.env_file.exists() else ""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with local_hub(me__mine=Repo({"mine-Q4_0.gguf": DATA, "mine-F16.gguf": DATA * 2})) as hub:
        yield Desk(hub, tmp_path)


def test_the_list_tells_what_is_here_and_what_is_offered(desk: Desk) -> None:
    (desk.models / "here-Q4_0.gguf").write_bytes(DATA)
    (desk.models / "smollm3-3b-Q4_K_M.gguf").write_bytes(DATA)
    (desk.models / ".downloads").mkdir()
    (desk.models / ".downloads" / "0123-begun.gguf.part").write_bytes(DATA)
    (desk.models / "offers.toml").write_text(MINE + "size = 1\n")
    (desk.models / "settings.toml").write_text('["here"]\ntypo = 1\n')
    code, said = desk.run("list")
    assert code == 0
    here, offered = said.split("Can be fetched")
    assert "here-Q4_0" in here
    assert "300.0 kB" in here
    assert "smollm2-135m-instruct" in here
    assert "not finished: begun.gguf.part" in here
    assert "smollm3-3b" in here
    assert "smollm3-3b" not in offered
    assert "qwen3-4b-instruct-2507" in offered
    assert "xtts_v2" in offered
    assert "offers.toml, line 1: size: no such key" in said
    assert 'settings.toml, line 2, ["here"] typo: no such key' in said
    assert desk.hub.asked == []


def test_a_search_looks_in_the_catalogue_and_on_the_hub(desk: Desk) -> None:
    code, said = desk.run("search", "mine")
    assert (code, "me/mine" in said) == (0, True)
    code, said = desk.run("search", "code", "middle", HF_HUB_OFFLINE="1")
    assert code == 0
    assert "qwen2.5-coder-7b-instruct" in said
    assert "The hub was not searched: Nothing is fetched: HF_HUB_OFFLINE is set" in said
    code, said = desk.run("search", "nothing-like-it")
    assert (code, said) == (1, "Nothing is called 'nothing-like-it'.\n")


def test_info_tells_size_licence_and_what_would_be_chosen(desk: Desk) -> None:
    code, said = desk.run("info", "me/mine")
    assert code == 0
    assert f"mine-Q4_0, from {desk.hub.url}/me/mine" in said
    assert "chosen: Q4_0 of F16, Q4_0" in said
    assert "1 file(s), 300.0 kB; licence: apache-2.0" in said
    code, said = desk.run("info", "xtts_v2")
    assert code == 0
    assert "cloned voices" in said
    assert "about 1.9 GB; licence: Coqui Public Model License" in said
    assert "from coqui/XTTS-v2" in said
    assert "The hub was not asked, or knew no more" in said
    code, said = desk.run("info", "qwen3-8b", HF_HUB_OFFLINE="1")
    assert "40,960 tokens of context, about 5.0 GB; licence: Apache-2.0" in said
    assert re.search(r"memory: .*fit.*: 5\.0 GB for the file \+ .* reserve", said)
    assert desk.run("info", "nothing")[0] == 1


def test_a_download_is_told_line_by_line_without_a_terminal(desk: Desk) -> None:
    code, said = desk.run("download", "me/mine")
    assert code == 0
    assert "mine-Q4_0: 100% of 300.0 kB" in said
    assert "a running server has it without a restart" in said
    assert (desk.models / "mine-Q4_0.gguf").read_bytes() == DATA
    assert desk.run("download", "me/mine")[0] == 0  # it is there already
    assert len(desk.hub.ranges()) == 1


def test_a_model_that_sees_is_described_listed_and_removed_with_its_projector(desk: Desk) -> None:
    desk.hub.repos["me/seer"] = Repo({"seer-Q4_0.gguf": DATA, "mmproj-model-f16.gguf": DATA})
    code, said = desk.run("download", "me/seer")
    assert code == 0
    assert "2 file(s), 600.0 kB" in said
    assert "sees by mmproj-model-f16.gguf (300.0 kB), which becomes mmproj-seer-F16.gguf" in said
    assert "600.0 kB  (sees by mmproj-seer-F16.gguf)" in desk.run("list")[1]
    assert str(desk.models / "mmproj-seer-F16.gguf") in desk.run("info", "seer")[1]
    assert desk.run("remove", "seer", "--yes") == (0, "Deleted, 600.0 kB.\n")
    assert list(desk.models.glob("*.gguf")) == []


def test_a_terminal_gets_a_progress_bar(desk: Desk) -> None:
    code, said = desk.at_a_terminal("", "download", "me/mine")
    assert code == 0
    assert "mine-Q4_0: 100%|" in said
    assert "300k/300k" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "no model that can be fetched by that name: `models list`"),
        ("me/nothing", "HF_TOKEN"),
        ("me/mine:Q8_0", "there are: F16, Q4_0"),
        ("https://evil.example/a/b", "fetched from there only"),
    ],
)
def test_what_cannot_be_fetched_is_said_with_exit_code_1(desk: Desk, name: str, said: str) -> None:
    code, output = desk.run("download", name)
    assert code == 1
    assert said in output
    assert "Traceback" not in output
    assert list(desk.models.iterdir()) == []


def test_a_full_disk_keeps_what_was_fetched_and_says_so(desk: Desk) -> None:
    pytest.importorskip("resource", reason="no limits to files on this system")
    large = DATA * 12  # several blocks, of which the limit cuts the second
    desk.hub.repos["me/mine"] = Repo({"mine-Q4_0.gguf": large})
    limited = RUN.replace(
        "commands.run(",
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY)); commands.run(",
    )
    command = desk.command("download", "me/mine")
    command[2] = limited
    done = subprocess.run(
        command, cwd=PROJECT_DIR, env=desk.environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "could not be written into" in done.stderr
    assert "what was fetched so far is kept" in done.stderr
    assert "Traceback" not in done.stderr
    (kept,) = desk.models.rglob("*.part")
    assert kept.read_bytes() == large[:1_500_000]
    assert desk.run("download", "me/mine")[0] == 0
    assert (desk.models / "mine-Q4_0.gguf").read_bytes() == large
    assert desk.hub.ranges()[-1] == "bytes=1500000-"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_keeps_what_was_fetched_for_the_next_time(desk: Desk) -> None:
    repo = desk.hub.repos["me/mine"]
    repo.breaks, repo.stalls_after = [100_000], 0
    process = subprocess.Popen(
        desk.command("download", "me/mine"),
        cwd=PROJECT_DIR,
        env=desk.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell's background jobs, and so these tests there, are started deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert repo.stalled.wait(60)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    repo.go_on.set()
    assert [path.stat().st_size for path in desk.models.rglob("*.part")] == [100_000]
    assert desk.run("download", "me/mine")[0] == 0
    assert desk.hub.ranges()[-1] == "bytes=100000-"


def test_a_model_is_removed_when_that_is_agreed_to(desk: Desk) -> None:
    (desk.models / "m-Q4_0.gguf").write_bytes(DATA)
    code, said = desk.run("remove", "m")
    assert (code, "say --yes" in said) == (1, True)
    assert desk.at_a_terminal("n\n", "remove", "m")[0] == 1
    assert (desk.models / "m-Q4_0.gguf").exists()
    assert desk.at_a_terminal("y\n", "remove", "m")[0] == 0
    assert list(desk.models.iterdir()) == []
    code, said = desk.run("remove", "m", "--yes")
    assert (code, "'m' does not exist here" in said) == (1, True)
    assert desk.run("remove", "smollm2-135m-instruct", "--yes")[0] == 1


def test_what_a_download_left_is_removed_by_the_files_name(desk: Desk) -> None:
    (desk.models / ".downloads").mkdir()
    (desk.models / ".downloads" / "0123-begun.gguf.part").write_bytes(DATA)
    assert desk.run("remove", "begun.gguf", "--yes") == (0, "Deleted, 300.0 kB.\n")
    assert list((desk.models / ".downloads").iterdir()) == []


def test_what_a_running_download_writes_is_not_removed(desk: Desk) -> None:
    (desk.models / ".downloads").mkdir()
    part = desk.models / ".downloads" / "0123-begun.gguf.part"
    part.write_bytes(DATA)
    with filelock.FileLock(part.with_name("0123-begun.gguf.lock")):
        code, said = desk.run("remove", "begun.gguf", "--yes")
    assert (code, "stop it first" in said, part.exists()) == (1, True, True)


def test_offline_nothing_is_fetched_and_that_is_said(desk: Desk) -> None:
    code, said = desk.run("download", "me/mine", HF_HUB_OFFLINE="1")
    assert (code, "HF_HUB_OFFLINE is set" in said) == (1, True)
    assert desk.hub.asked == []


def test_use_keeps_the_setting_of_a_models_kind(desk: Desk) -> None:
    (desk.models / "m-Q4_0.gguf").write_bytes(DATA)
    (desk.models / "faster-whisper-tiny").mkdir()
    for name in ("model.bin", "config.json", "vocabulary.txt"):
        (desk.models / "faster-whisper-tiny" / name).write_text("{}")
    assert desk.run("use", "m")[0] == 0
    code, said = desk.run("use", "tiny")
    assert code == 0
    assert "TRANSCRIPTION_MODEL=faster-whisper-tiny is kept" in said
    assert desk.settings() == "CHAT_MODEL=m-Q4_0\nTRANSCRIPTION_MODEL=faster-whisper-tiny\n"
    assert "But CHAT_MODEL=x in the environment wins" in desk.run("use", "m", CHAT_MODEL="x")[1]


def test_use_fetches_what_is_not_here_only_when_that_is_agreed_to(desk: Desk) -> None:
    code, said = desk.run("use", "me/mine")
    assert (code, "mine-Q4_0 is not here. Fetch it?" in said) == (1, True)
    assert desk.hub.ranges() == []
    assert desk.at_a_terminal("y\n", "use", "me/mine")[0] == 0
    assert desk.settings() == "CHAT_MODEL=mine-Q4_0\n"
    assert (desk.models / "mine-Q4_0.gguf").exists()


def test_use_takes_a_file_from_anywhere_on_this_machine(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "my-Q4_0.gguf"
    path.write_bytes(b"GGUF" + DATA)
    code, said = desk.run("use", str(path))
    assert code == 0
    assert f"{path} stays where it is" in said
    assert desk.settings() == "CHAT_MODEL=my-Q4_0\n"
    code, said = desk.run("use", "./nowhere.gguf")
    assert (code, "There is no file or folder nowhere.gguf" in said) == (1, True)
    assert desk.hub.asked == []


def test_use_auto_says_why_and_asks_before_it_fetches(desk: Desk) -> None:
    (desk.models / "offers.toml").write_text(
        MINE + "parameters = 0.01\nquantisation = 'Q4_0'\nauto = true\n"
    )
    code, said = desk.run("use", "auto")
    assert code == 1
    assert "mine is the best that fits: 0.0 GB for the file" in said
    assert "reserve" in said
    assert desk.hub.ranges() == []
    assert desk.settings() == ""
    assert desk.run("use", "auto", "--yes")[0] == 0
    assert desk.settings() == "CHAT_MODEL=mine-Q4_0\n"


def test_xtts_is_fetched_only_by_who_agrees_to_its_licence(desk: Desk) -> None:
    files = dict.fromkeys(("config.json", "model.pth", "vocab.json", "speakers_xtts.pth"), DATA)
    desk.hub.repos["coqui/XTTS-v2"] = Repo(files)
    code, said = desk.run("download", "xtts_v2")
    assert code == 1
    assert "Coqui Public Model License" in said
    assert desk.at_a_terminal("n\n", "download", "coqui/XTTS-v2")[0] == 1
    assert desk.hub.ranges() == []
    assert desk.at_a_terminal("y\n", "download", "xtts_v2")[0] == 0
    assert desk.settings() == "ACCEPT_XTTS_LICENSE=true\n"
    assert sorted(path.name for path in (desk.models / "xtts_v2").iterdir()) == sorted(
        [*files, "tos_agreed.txt"]
    )


def test_yes_agrees_to_the_licence_which_is_shown_all_the_same(desk: Desk) -> None:
    desk.hub.repos["coqui/XTTS-v2"] = Repo(
        dict.fromkeys(("config.json", "model.pth", "vocab.json", "speakers_xtts.pth"), DATA)
    )
    code, said = desk.run("download", "xtts_v2", "--yes")
    assert (code, "Coqui Public Model License" in said) == (0, True)
    assert desk.settings() == "ACCEPT_XTTS_LICENSE=true\n"
    code, said = desk.run("use", "xtts_v2")
    assert (code, "cloned voices speak by an XTTS model as soon as it is there" in said) == (
        1,
        True,
    )


def test_a_wrong_setting_is_said(desk: Desk) -> None:
    assert desk.run("list", PORT="x")[0] == 1


def test_a_command_without_its_name_is_refused_with_the_usage(desk: Desk) -> None:
    code, said = desk.run("download")
    assert (code, "the following arguments are required: name" in said) == (2, True)
    assert desk.run("fetch", "x")[0] == 2


def test_a_model_is_made_faster_for_this_cpu_and_kept_when_it_loses_little(
    desk: Desk, bundled_gguf: Path
) -> None:
    (desk.models / "mine.Q4_1.gguf").symlink_to(bundled_gguf)
    code, said = desk.run("optimize", "mine", "--type", "q8_0", "--yes", CHAT_MODEL="mine")
    assert code == 0, said
    assert re.search(r"mine\.Q4_1, 98\.4 MB: perplexity 23\.\d\d\n", said)
    assert re.search(
        r"Q8_0 +144\.8 MB  perplexity 24\.\d\d|23\.9\d \(\+0\.[1-9]%\), answers \d", said
    )
    assert (desk.models / "mine.Q8_0.gguf").is_file()
    assert "CHAT_MODEL=mine.Q8_0 is kept" in said


def test_what_was_made_before_is_passed_over(desk: Desk) -> None:
    write_model(desk.models / "tiny.gguf")
    for type_ in ("Q8_0", "Q4_K_M"):
        write_model(desk.models / f"tiny.{type_}.gguf")
    code, said = desk.run("optimize", "tiny.gguf", CHAT_MODEL="not-here")
    assert re.search(r"tiny, .*: perplexity \d+", said)
    assert re.search(r"\n  Q4_0 .* times as fast\n", said)
    for type_ in ("Q8_0  ", "Q4_K_M"):
        assert f"\n  {type_}  is there already.\n" in said
    assert said.count("Q8_0") == said.count("Q4_K_M") == 1  # neither is made nor tried again
    assert code == int("Nothing is kept" in said)  # as the machine is just now


def test_only_chat_models_are_made_faster(desk: Desk) -> None:
    code, said = desk.run("optimize", "faster-whisper-base")
    assert (code, "'faster-whisper-base' is a transcription model" in said) == (1, True)


def test_what_loses_much_is_not_kept_unless_it_is_asked_for(desk: Desk) -> None:
    write_model(desk.models / "tiny.gguf")
    code, said = desk.run("optimize", "nothing-of-that-name")
    assert (code, "'nothing-of-that-name'" in said) == (1, True)
    code, said = desk.run("optimize", "tiny", "--type", "q5_1")
    assert (code, "invalid choice: 'q5_1'" in said) == (2, True)
    said_by = desk.run("optimize", "tiny", "--type", "Q4_0", "--yes", CHAT_MODEL="not-here")
    assert (said_by[0], "tiny.Q4_0 is in" in said_by[1]) == (0, True)
    code, said = desk.run("optimize", "tiny.gguf", "--type", "Q4_0", "--yes")
    assert (code, "is there already" in said) == (1, True)
