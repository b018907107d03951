"""What the start of the server promises beyond its routes."""

import importlib.util
import re
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from engine_room.llama_devices import free_gpu_bytes, multiplies_blocks
from engine_room.server import announce, listen, settings_of_command_line, suggest
from engine_room.settings import Settings
from tests.conftest import PROJECT_DIR, running_server


def test_small_writes_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not importlib.util.find_spec("TTS"), reason="voice cloning is not installed")
def test_the_start_says_what_keeps_a_cloning_model_from_speaking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said(accepted: bool) -> str:
        caplog.clear()
        with listen("127.0.0.1", 0) as listening:
            settings = Settings(_env_file=None, models_dir=tmp_path, accept_xtts_license=accepted)
            announce(listening, settings)
        return caplog.text

    assert "Cloned voices" not in said(accepted=False)  # nobody wants them yet
    (tmp_path / "xtts_v2").mkdir()
    assert "has no config.json, model.pth, vocab.json" in said(accepted=True)
    for name in ("config.json", "model.pth", "vocab.json"):
        (tmp_path / "xtts_v2" / name).touch()
    assert "openai_api.py xtts-license" in said(accepted=False)
    assert "Cloned voices" not in said(accepted=True)


def test_a_language_that_no_voice_speaks_ends_the_program_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["openai_api.py", "--xtts-language", "klingon"])
    with pytest.raises(SystemExit, match=r"xtts_language: language 'klingon' is none .* en \("):
        settings_of_command_line()
    monkeypatch.setattr("sys.argv", ["openai_api.py", "--xtts-language", "de-AT"])
    assert settings_of_command_line().xtts_language == "de-AT"


def test_the_start_names_a_better_chat_model_while_only_the_bundled_one_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def said(**settings: str | bool) -> str:
        caplog.clear()
        suggest(Settings(_env_file=None, models_dir=tmp_path, **settings))  # type: ignore[arg-type]
        return caplog.text

    assert re.search(
        r"could run [\w.-]+ \(.* free.*\):\n.* openai_api.py models use [\w.-]+", said()
    )
    if multiplies_blocks() and not free_gpu_bytes():
        assert "openai_api.py models optimize smollm2-135m-instruct" in said()
    assert said(suggest_model=False) == said(chat_model="mine") == ""
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert said() == ""


def test_a_running_server_says_so_in_its_log(tmp_path: Path) -> None:
    folders = [f"--{name}-dir={tmp_path}" for name in ("models", "audio", "voice-clones")]
    with subprocess.Popen(
        [sys.executable, "openai_api.py", "--port=0", "--chat-model=", *folders],
        cwd=PROJECT_DIR,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert any("openai_api.py models use" in line for line in process.stderr)  # waits for it
        process.terminate()
        process.stderr.read()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make a certificate with")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_with_a_certificate_it_serves_https(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    file, key = certificate
    with running_server(tmp_path, f"--ssl-certfile={file}", f"--ssl-keyfile={key}") as server:
        assert server.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(file))
        assert httpx.get(f"{server.url}/v1/models", verify=trusting).status_code == 200


def test_a_certificate_that_cannot_be_used_ends_the_program_with_the_reason(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key = map(str, certificate)
    (tmp_path / "other.pem").write_text("no certificate")
    for arguments, reason in [
        (["--ssl-keyfile", key], "it needs ssl_certfile"),
        (["--ssl-certfile", "nowhere.pem"], "nowhere.pem is not there"),
        (["--ssl-certfile", file], "no certificate with its private key"),
        (["--ssl-certfile", str(tmp_path / "other.pem")], "no certificate with its private key"),
        (["--ssl-certfile", file, "--ssl-keyfile", file], "no certificate with its private key"),
    ]:
        monkeypatch.setattr("sys.argv", ["openai_api.py", *arguments])
        with pytest.raises(SystemExit, match=reason):
            settings_of_command_line()
