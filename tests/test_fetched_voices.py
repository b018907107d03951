"""The light engine's other voices are what its package says they are, and speak when they are there.

Their models cannot be had in a test: the bundled one stands in for them, read as a British voice would be.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine_room.catalogue import Catalogue
from engine_room.errors import Forbidden, Unavailable, VoiceNotFound, WrongModel
from engine_room.fetched_voices import KNOWN, FetchedVoice, fetched_voices
from engine_room.installed import by_id, installed, remove
from engine_room.jobs import Job
from engine_room.offers import Offers
from engine_room.packages import package_dir
from engine_room.recordings import Recordings
from engine_room.schemas import SpeechRequest
from engine_room.settings import Settings
from engine_room.speaking import Planner
from engine_room.speech import Speech, SpeechTurn
from engine_room.speech_light import LightVoice
from engine_room.spoken import SpokenBlock
from engine_room.standard_voices import Character
from engine_room.voices import Voices
from tests.conftest import Server

HIBARI = package_dir("hibari")
assert HIBARI
ASSETS = HIBARI / "assets"


def add(models: Path, id_: str) -> Path:
    """The bundled model in the place of a voice's."""
    file = next(file for known, _, _, file, _ in KNOWN if known == id_)
    (models / id_).mkdir(parents=True)
    shutil.copyfile(ASSETS / "hibari.onnx", models / id_ / file)
    return models / id_ / file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None, models_dir=tmp_path / "models", voice_clones_dir=tmp_path / "voice_clones"
    )


def test_they_are_offered_as_the_package_registers_them() -> None:
    registered = {
        voice["kokoro"]: (f"voices/{voice['file']}", voice["sha256"], voice["british"])
        for voice in json.loads((ASSETS / "voices.json").read_text("utf-8")).values()
        if not voice["bundled"]
    }
    offers = {offer.id: offer for offer in Offers(Path("nowhere")).all() if offer.kind == "voice"}
    assert {
        id_: (*offers[id_].sha256.popitem(), is_british) for id_, _, _, _, is_british in KNOWN
    } == registered
    assert all(offers[id_].files == [f"voices/{file}"] for id_, _, _, file, _ in KNOWN)
    assert all(offers[id_].folder == id_ for id_, *_ in KNOWN)


def test_one_that_is_there_is_listed_and_found_by_both_names(settings: Settings) -> None:
    voices = Voices(settings)
    before = voices.listed_json()
    path = add(settings.models_dir, "bf_emma")
    emma = FetchedVoice("bf_emma", "A British woman", Character(), path, True)
    assert voices.get("BF_Emma") == voices.get("emma") == emma
    assert [voice.id for voice in voices.listed()][-1] == "bf_emma"
    assert voices.listed_json() != before
    assert voices.get("fable") != voices.get("alloy")  # OpenAI's, as before
    with pytest.raises(Forbidden, match="delete it as a model"):
        voices.delete("emma")
    catalogue = Catalogue(settings)
    here = by_id("bf_emma", installed(catalogue, settings.models_dir))
    assert here
    assert (here.kind, here.size_bytes) == ("voice", path.stat().st_size)
    remove("bf_emma", catalogue, settings.models_dir)
    assert fetched_voices(settings.models_dir) == {}


def test_one_that_is_not_there_is_an_error_with_the_command(settings: Settings) -> None:
    with pytest.raises(VoiceNotFound, match=r"models download bf_emma$") as missing:
        Voices(settings).get("emma")
    assert missing.value.offer == "bf_emma"
    with pytest.raises(VoiceNotFound) as unknown:
        Voices(settings).get("nobody")
    assert (unknown.value.offer, "download" in unknown.value.message) == ("", False)


def test_a_clip_of_that_name_is_the_users_own(settings: Settings) -> None:
    add(settings.models_dir, "bf_emma")
    settings.voice_clones_dir.mkdir()
    (settings.voice_clones_dir / "emma.wav").write_bytes(b"a clip")
    assert not isinstance(Voices(settings).get("emma"), FetchedVoice)
    assert isinstance(Voices(settings).get("bf_emma"), FetchedVoice)


def test_each_voice_is_read_by_its_own_rules_and_loaded_once(settings: Settings) -> None:
    loaded: list[FetchedVoice] = []

    def load(voice: FetchedVoice) -> LightVoice:
        loaded.append(voice)
        return LightVoice(model=voice.model, is_british=voice.is_british)

    paths = [add(settings.models_dir, id_) for id_ in ("af_kore", "bf_emma")]
    kore, emma = fetched_voices(settings.models_dir).values()
    assert [kore.model, emma.model] == paths
    speech = Speech(LightVoice(), load=load)
    for voice in (kore, emma, kore):
        job = Job(SpeechTurn("The car.", "", voice), print)
        block = next(iter(speech.answer(job)))
        assert isinstance(block, SpokenBlock)
        assert np.abs(block.sound.samples).max() > 0.05
    assert loaded == [kore, emma]
    read = [next(load(voice)._phonemes("The car.")) for voice in (kore, emma)]
    assert read == ["ðə kˈɑɹ.", "ðə kˈɑː."]


def test_a_file_that_is_no_model_is_said_with_what_mends_it(settings: Settings) -> None:
    add(settings.models_dir, "bf_emma").write_bytes(b"no model")
    (emma,) = fetched_voices(settings.models_dir).values()
    with pytest.raises(
        Unavailable, match=r"bf_emma\.int8\.onnx cannot be loaded: .*Remove .*bf_emma"
    ):
        list(Speech(LightVoice()).answer(Job(SpeechTurn("Hello.", "", emma), print)))


def test_it_speaks_by_the_light_engine_whatever_speaks_openais_voices(settings: Settings) -> None:
    add(settings.models_dir, "bf_emma")
    by_xtts = settings.model_copy(update={"speech_engine": "xtts"})
    planner = Planner(by_xtts, Voices(by_xtts), Recordings(by_xtts))
    turn = planner.turn(SpeechRequest(input="Hello.", voice="emma"))
    assert isinstance(turn.parts[0].turn, SpeechTurn)
    assert turn.parts[0].own_lufs is None  # it is measured
    with pytest.raises(WrongModel, match="'xtts_v2' does not speak in the voice bf_emma"):
        planner.turn(SpeechRequest(input="Hello.", voice="emma", model="xtts_v2"))


def test_a_running_server_has_it_without_a_restart(server: Server) -> None:
    models = server.folder / "models"
    body = {"input": "Hello there.", "voice": "emma", "response_format": "wav"}
    with server.http() as http:
        assert "models download bf_emma" in http.post("/v1/audio/speech", json=body).text
        add(models, "bf_emma")
        assert "bf_emma" in http.get("/v1/audio/voices").text
        sound = http.post("/v1/audio/speech", json=body)
        details = http.get("/v1/audio/voices/emma").json()
        gone = http.delete("/v1/models/bf_emma")
    assert (sound.status_code, len(sound.content) > 20_000) == (200, True)
    assert (details["id"], details["ready"], details["engine"]) == ("bf_emma", True, "hibari")
    assert gone.json()["deleted"]
    assert not (models / "bf_emma").exists()
