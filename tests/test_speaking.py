"""Which engine speaks, and in which voice: the one that was asked for, or an error that says why not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from engine_room.engines import make_engines
from engine_room.errors import InvalidRequest, ModelNotFound, Unavailable, VoiceNotFound
from engine_room.recordings import Recordings
from engine_room.schemas import SpeechRequest
from engine_room.settings import Settings
from engine_room.speaking import Planner
from engine_room.speech import SpeechTurn
from engine_room.speech_output import Output
from engine_room.synthesis import SynthesisTurn
from engine_room.voices import Voices
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import StudioVoice
from engine_room.xtts.turn import XttsTurn

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("TTS"), reason="voice cloning is not installed"
)
torch = pytest.importorskip("torch")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A server with one cloned voice and no XTTS."""
    for name in ("models", "voice_clones"):
        (tmp_path / name).mkdir()
    (tmp_path / "voice_clones" / "Grandma.wav").write_bytes(b"RIFF")
    return Settings(
        models_dir=tmp_path / "models",
        voice_clones_dir=tmp_path / "voice_clones",
        accept_xtts_license=True,
    )


def with_model(settings: Settings, name: str = "xtts_v2") -> Settings:
    """Files that look like a model; nothing is loaded here."""
    folder = settings.models_dir / name
    folder.mkdir()
    (folder / "config.json").write_text('{"model": "xtts"}')
    for file in ("model.pth", "vocab.json"):
        (folder / file).write_bytes(b"x")
    return settings


def planned(settings: Settings, **fields: Any) -> SynthesisTurn:
    body = SpeechRequest.model_validate({"input": "Hello.", **fields})
    return Planner(settings, Voices(settings), Recordings(settings)).turn(body)


def turn(settings: Settings, **fields: Any) -> SpeechTurn | XttsTurn:
    """What the engine of the only part is asked."""
    (part,) = planned(settings, **fields).parts
    assert part.turn
    return part.turn


def test_a_standard_voice_is_the_fast_one_unless_xtts_is_asked_for(settings: Settings) -> None:
    for model in ("tts-1", "TTS-1", "", "gpt-4o-mini-tts", "tts-1-hd"):
        assert isinstance(turn(settings, model=model, voice="nova"), SpeechTurn)
    with_model(settings)
    assert isinstance(turn(settings, model="tts-1", voice="nova"), SpeechTurn)
    for model in ("tts-1-hd", "xtts_v2", "XTTS_v2"):
        found = turn(settings, model=model, voice="nova")
        assert isinstance(found, XttsTurn)
        assert found.voice == StudioVoice("Daisy Studious")
        assert found.folder.id == "xtts_v2"


def test_studio_speakers_speak_for_tts_1_where_that_is_set_or_nobody_does(
    settings: Settings,
) -> None:
    by_xtts = settings.model_copy(update={"speech_engine": "xtts"})
    models = ("tts-1", "", "gpt-4o-mini-tts", "tts-1-hd")
    for model in models:
        with pytest.raises(Unavailable, match=r"'nova' cannot speak: There is no XTTS") as caught:
            turn(by_xtts, model=model, voice="nova")
        assert caught.value.mend
    with_model(settings)
    for model in models:
        found = turn(by_xtts, model=model, voice="nova")
        assert isinstance(found, XttsTurn)
        assert (found.voice, found.folder.id) == (StudioVoice("Daisy Studious"), "xtts_v2")
    unlicensed = by_xtts.model_copy(update={"accept_xtts_license": False})
    with pytest.raises(Unavailable, match="non-commercial"):
        turn(unlicensed, voice="nova")


def test_what_really_speaks_is_said_of_voices_models_and_health(settings: Settings) -> None:
    by_xtts = settings.model_copy(update={"speech_engine": "xtts"})

    def said(settings: Settings) -> tuple[str, str, str, str]:
        engines = make_engines(settings)
        speech = engines.status()["speech"]
        details = engines.voices.details("nova", speech)
        roots = {model.id: model.root for model in engines.catalogue.everything()}
        listed = {model.id: model.root for model in engines.catalogue.speech_models()}
        assert roots["tts-1"] == listed["tts-1"]
        return details.engine, roots["tts-1"], roots["tts-1-hd"], str(speech.reason)

    assert said(settings)[:3] == ("hibari", "hibari-tts", "hibari-tts")
    engine, root, better, reason = said(by_xtts)
    assert (engine, root, better) == ("xtts", "xtts_v2", "xtts_v2")
    assert "There is no XTTS model" in reason
    with_model(settings)
    assert said(settings)[:3] == ("hibari", "hibari-tts", "xtts_v2")
    assert "XTTS" not in said(by_xtts)[3]


def test_a_cloned_voice_speaks_by_xtts_whatever_model_is_named(settings: Settings) -> None:
    with_model(settings)
    for model in ("tts-1", "", "tts-1-hd", "xtts_v2"):
        found = turn(settings, model=model, voice={"id": "grandma"}, seed=3, language="de")
        assert isinstance(found, XttsTurn)
        assert (found.voice.id, found.seed, found.language) == ("Grandma", 3, "de")


def test_what_a_request_says_of_sampling_is_passed_on(settings: Settings) -> None:
    with_model(settings)
    found = turn(settings, voice="Grandma", top_k=3, repetition_penalty=2)
    assert isinstance(found, XttsTurn)
    assert found.sampling == SamplingChanges(top_k=3, repetition_penalty=2)


def test_a_fine_tuned_model_speaks_under_its_folders_name(settings: Settings) -> None:
    with_model(with_model(settings), "my_uncle")
    found = turn(settings, model="My_Uncle", voice="Grandma")
    assert isinstance(found, XttsTurn)
    assert found.folder.id == "my_uncle"
    with pytest.raises(ModelNotFound, match=r"your_uncle.*tts-1.*my_uncle"):
        turn(settings, model="your_uncle")


def test_a_fine_tuned_models_own_speakers_speak_with_that_model(settings: Settings) -> None:
    for name, speaker in (("xtts_v2", "Ana"), ("my_uncle", "Bob")):
        folder = with_model(settings, name).models_dir / name
        torch.save({speaker: {}}, folder / "speakers_xtts.pth")
    found = turn(settings, model="my_uncle", voice="bob")
    assert isinstance(found, XttsTurn)
    assert (found.voice, found.folder.id) == (StudioVoice("Bob"), "my_uncle")
    assert turn(settings, voice="ana").voice == StudioVoice("Ana")
    with pytest.raises(VoiceNotFound, match=r"Bob.*there are.*nova.*Ana"):
        turn(settings, voice="Bob")


def test_the_only_model_there_is_speaks_for_all(settings: Settings) -> None:
    with_model(settings, "my_uncle")
    found = turn(settings, voice="Grandma")
    assert isinstance(found, XttsTurn)
    assert found.folder.id == "my_uncle"


def test_a_cloned_voice_without_its_model_is_an_error_never_another_voice(
    settings: Settings,
) -> None:
    with pytest.raises(Unavailable, match=r"'Grandma' cannot speak: There is no XTTS") as caught:
        turn(settings, voice="Grandma")
    assert caught.value.mend
    with pytest.raises(Unavailable, match=r"There is no XTTS"):
        turn(settings, model="xtts_v2", voice="nova")
    with_model(settings)
    (settings.models_dir / "xtts_v2" / "vocab.json").unlink()
    with pytest.raises(Unavailable, match=r"has no vocab\.json"):
        turn(settings, voice="Grandma")


def test_without_agreement_to_the_licence_nothing_is_cloned(settings: Settings) -> None:
    strict = with_model(settings).model_copy(update={"accept_xtts_license": False})
    with pytest.raises(Unavailable, match="non-commercial") as caught:
        turn(strict, voice="Grandma")
    assert "openai_api.py xtts-license" in str(caught.value.mend)
    assert "--accept-xtts-license" in str(caught.value.mend)
    assert isinstance(turn(strict, model="tts-1-hd", voice="nova"), SpeechTurn)


def test_what_is_wrong_is_named(settings: Settings) -> None:
    with pytest.raises(VoiceNotFound, match="Nobody"):
        turn(settings, voice="Nobody")
    with pytest.raises(InvalidRequest, match="at most 20,000"):
        turn(settings, input="a" * 20_001)
    with pytest.raises(InvalidRequest, match="mp4"):
        turn(settings, response_format="mp4")
    with pytest.raises(ModelNotFound, match=r"whisper-1.*tts-1-hd"):
        turn(settings, model="whisper-1")


def test_settings_say_what_a_file_is_where_the_request_does_not(settings: Settings) -> None:
    own = settings.model_copy(update={"speech_sample_rate": 44_100, "speech_bitrate": 64_000})
    assert planned(own).output == Output("mp3", 44_100, 64_000)
    assert planned(own, sample_rate=16_000, bitrate=32_000).output == Output("mp3", 16_000, 32_000)
    assert planned(own, response_format="opus").output == Output("opus", 24_000, 64_000)
    assert planned(own, response_format="wav").output == Output("wav", 44_100, None)
    assert planned(settings).output == Output("mp3", 24_000, None)
    with pytest.raises(InvalidRequest, match="sample_rate '44100'"):
        planned(settings, response_format="opus", sample_rate=44_100)
    with pytest.raises(InvalidRequest, match="stream_format 'xml'"):
        planned(settings, stream_format="xml")


def test_a_rate_in_the_text_multiplies_the_speed_and_never_beyond_what_there_is(
    settings: Settings,
) -> None:
    slow = '<prosody rate="50%">Hello.</prosody>'
    assert turn(settings, input=slow, speed=0.5).speed == 0.25
    assert turn(settings, speed=4, instructions="Speak very fast.").speed == 4
    with pytest.raises(
        InvalidRequest, match=r"speed 0\.25 times .* rate 0\.5 is 0\.125; .* 0\.25 to 4"
    ):
        turn(settings, input=slow, speed=0.25)


def test_a_request_streams_when_it_says_so_or_its_reader_does(settings: Settings) -> None:
    assert not planned(settings).stream
    assert planned(settings, stream=True).stream
    assert planned(settings, stream_format="sse").stream
    body = SpeechRequest(input="Hello.")
    planner = Planner(settings, Voices(settings), Recordings(settings))
    assert planner.turn(body, is_read_as_stream=True).stream


def test_all_that_changes_the_sound_changes_the_key_and_nothing_else_does(
    settings: Settings,
) -> None:
    with_model(settings)
    requests: list[dict[str, Any]] = [
        {},
        {"input": "Hello"},
        {"voice": "onyx"},
        {"voice": "Grandma"},
        {"voice": "Grandma", "seed": 1},
        {"voice": "Grandma", "top_k": 1},
        {"voice": "Grandma", "language": "de"},
        {"voice": "nova", "model": "tts-1-hd"},
        {"speed": 1.5},
        {"response_format": "wav"},
        {"sample_rate": 48_000},
        {"bitrate": 64_000},
        {"voice": "nova"},
    ]
    keys = {planned(settings, **fields).key for fields in requests}
    assert len(keys) == len(requests)
    louder = settings.model_copy(update={"speech_lufs": -18})
    assert planned(louder).key not in keys
    assert planned(settings, stream=True, cache=False, user="me").key == planned(settings).key
    (settings.voice_clones_dir / "Grandma.wav").write_bytes(b"RIFF again")
    grandma = planned(settings, voice="Grandma")
    assert grandma.key not in keys
    studio = planned(settings, model="tts-1-hd")
    (settings.models_dir / "xtts_v2" / "speakers_xtts.pth").write_bytes(b"other speakers")
    assert planned(settings, model="tts-1-hd").key not in (studio.key, "")
    (settings.models_dir / "xtts_v2" / "vocab.json").write_bytes(b"other tokens")
    assert planned(settings, voice="Grandma").key not in (grandma.key, "")


def test_a_file_that_is_kept_is_taken_unless_asked_not_to(settings: Settings) -> None:
    own = settings.model_copy(update={"audio_dir": settings.models_dir.parent / "audio"})
    recordings = Recordings(own)
    recordings.open()
    recordings.keep(b"kept", "alloy", "Hello.", "mp3", planned(own).key)
    recordings.close()
    assert planned(own).kept == planned(own, stream=True).kept == b"kept"
    for fields in ({"cache": False}, {"speed": 2}, {"stream_format": "sse"}, {"timestamps": True}):
        assert planned(own, **fields).kept is None
    assert planned(own.model_copy(update={"speech_cache": False})).kept is None
