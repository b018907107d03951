"""The engine for cloned voices, on a tiny model whose voices are noise."""

import json
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.clones import ClonedVoice
from engine_room.cores import Cores
from engine_room.encoding import Sound, encode
from engine_room.errors import ApiError, InvalidRequest, Unavailable
from engine_room.jobs import Done, Engine, Failed, Inbox, Job, MemoryTurn, Status
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from engine_room.spoken import SpokenBlock
from engine_room.xtts.engine import Asked, Cloning, cloning_engine
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.pace import TOKEN_S, max_audio_tokens
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import speaker_names
from engine_room.xtts.turn import StudioVoice, XttsTurn
from tests.conftest import IS_REAL_XTTS, REAL_XTTS_PATIENCE_S
from tests.xtts_models import TINY, drop_weight, write_xtts

pytest.importorskip("TTS", reason="voice cloning is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PATIENCE_S = REAL_XTTS_PATIENCE_S if IS_REAL_XTTS else 60
NUM_ALIKE = 6000  # samples of five tokens
TWO = "First there is this sentence. Then there is a second one, which is longer."


class Events:
    """What an engine delivered for one job, in order."""

    def __init__(self, engine: Engine[Asked], turn: Asked) -> None:
        self.queue: queue.Queue[object] = queue.Queue()
        self.job: Job[Asked] = engine.submit(turn, self.queue.put)

    def __iter__(self) -> Iterator[SpokenBlock]:
        """The blocks; raises the error that ended the job."""
        while not isinstance(event := self.queue.get(timeout=PATIENCE_S), Done):
            if isinstance(event, Failed):
                raise event.error
            assert isinstance(event, SpokenBlock)
            yield event

    def data(self) -> bytes:
        """The samples."""
        return b"".join(block.sound.samples.tobytes() for block in self)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("cloning")
    (folder / "voice_clones").mkdir()
    return Settings(
        voice_clones_dir=folder / "voice_clones",
        audio_dir=folder / "audio",
        xtts_gpt_type="q8_0" if IS_REAL_XTTS else "f32",
        xtts_parallel=3,
    )


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[Engine[Asked]]:
    engine = cloning_engine(settings)
    engine.open()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def my_voice(settings: Settings) -> ClonedVoice:
    rng = np.random.default_rng(3)
    envelope = np.repeat(rng.uniform(0.2, 1, 40), 2400).astype(np.float32)
    samples = (rng.standard_normal(96_000) * 0.1).astype(np.float32) * envelope
    path = settings.voice_clones_dir / "me.wav"
    path.write_bytes(encode(Sound(samples, 24_000), "wav"))
    return ClonedVoice("me", (path,), "", "")


def turn(folder: XttsFolder, **changes: Any) -> XttsTurn:
    fields: dict[str, Any] = {
        "folder": folder,
        "text": "Hello there.",
        "language": "en",
        "voice": StudioVoice(next(iter(speaker_names(folder)), "Nobody")),
        "speed": 1.0,
        "stream": False,
        "seed": 7,
    }
    return XttsTurn(**(fields | changes))


def sound(data: bytes) -> Sound:
    return Sound(np.frombuffer(data, np.float32), 24_000)


def test_a_clip_becomes_a_voice_that_speaks(
    engine: Engine[Asked], xtts_folder: XttsFolder, my_voice: ClonedVoice, settings: Settings
) -> None:
    said = sound(Events(engine, turn(xtts_folder, voice=my_voice)).data())
    assert said.duration_s > 0.1
    assert np.abs(said.samples).max() > 0.001
    kept = list((settings.voice_clones_dir / ".conditioning").iterdir())
    assert [path.suffix for path in kept] == [".safetensors"]


def test_a_seed_gives_the_same_sound_and_another_one_another(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    one, same, other = (
        Events(engine, turn(xtts_folder, text=TWO, seed=seed)).data() for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_seed_gives_the_same_sound_on_one_core_and_on_two(
    settings: Settings, xtts_folder: XttsFolder
) -> None:
    long = turn(xtts_folder, text="A sentence that has no end " * 9, seed=3)
    heard = []
    for num_cores in (1, 2):
        engine = cloning_engine(settings, Cores(num_cores))
        engine.open()
        heard.append(Events(engine, long).data())
        engine.close()
    assert heard[0] == heard[1]


def test_what_would_sound_the_same_again_is_not_said_again(
    engine: Engine[Asked], xtts_folder: XttsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    likeliest = SamplingChanges(temperature=0)
    texts = ["Hi.", "Hello there.", TWO, "Yes", "a", "Who is it?"]
    for text in texts:
        assert Events(engine, turn(xtts_folder, text=text, sampling=likeliest)).data()
    if IS_REAL_XTTS and "a sentence in the voice" not in caplog.text:
        pytest.skip("the model in XTTS_MODEL_DIR says each text without a fault")
    assert "a sentence in the voice" in caplog.text
    assert "said again" not in caplog.text


def test_a_request_may_draw_otherwise_than_its_model_does(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    likeliest = SamplingChanges(temperature=0)
    one, two = (
        Events(engine, turn(xtts_folder, seed=seed, sampling=likeliest)).data() for seed in (1, 2)
    )
    assert one == two


def test_a_stream_is_the_same_sound_and_begins_before_it_ends(
    engine: Engine[Asked], xtts_folder: XttsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for seed in range(30):
        caplog.clear()
        whole = sound(Events(engine, turn(xtts_folder, seed=seed)).data()).samples
        if "again" not in caplog.text and len(whole) > 24_000:
            break
    else:
        pytest.fail("every sentence had to be said again, as no stream can")
    blocks = list(Events(engine, turn(xtts_folder, seed=seed, stream=True)))
    streamed = np.concatenate([block.sound.samples for block in blocks])
    assert len(blocks) > 1
    assert len(streamed) == len(whole)
    assert np.abs(streamed - whole).max() < 1e-4
    assert streamed[0] == streamed[-1] == 0  # no click


def test_between_sentences_there_is_a_pause(engine: Engine[Asked], xtts_folder: XttsFolder) -> None:
    said = sound(Events(engine, turn(xtts_folder, text=TWO)).data()).samples
    loud = np.flatnonzero(said)
    # A real voice is silent before and after a sentence, too.
    assert 0.2 < np.diff(loud).max() / 24_000 < (1.5 if IS_REAL_XTTS else 0.5)


def test_a_sentence_that_goes_wrong_is_said_again_and_a_stream_of_it_is_cut(
    engine: Engine[Asked], xtts_folder: XttsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bad = (seed for seed in range(20) if _runs_on(engine, xtts_folder, seed, caplog))
    if (seed := next(bad, -1)) < 0:
        assert IS_REAL_XTTS
        pytest.skip("the model in XTTS_MODEL_DIR ends each of twenty sentences by itself")
    caplog.clear()
    blocks = list(Events(engine, turn(xtts_folder, text="Hi.", seed=seed, stream=True)))
    assert "did not end by itself: cut" in caplog.text
    assert (
        sum(block.sound.duration_s for block in blocks)
        < max_audio_tokens("Hi.", "en") * TOKEN_S + 0.1
    )


def test_faults_are_counted_with_what_was_done_and_so_are_sentences_and_loads(
    settings: Settings, xtts_folder: XttsFolder
) -> None:
    metrics = Metrics()

    def count(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"openai_api_{name}_total", labels)

    engine = cloning_engine(settings, metrics=metrics)
    engine.open()
    num_chars, samples = 0, 0
    for seed in range(20):
        num_chars += len("Hello there.")
        said = sound(Events(engine, turn(xtts_folder, seed=seed)).data())
        samples += len(said.samples)
        if count("cloning_faults", fault="ran_on", remedy="said_again"):
            break
    assert count("cloning_faults", fault="ran_on", remedy="said_again") == 1
    remedies = ("said_again", "cut", "left_as_it_is")
    for fault in ("ran_on", "too_short", "invented_tail"):
        assert None not in [count("cloning_faults", fault=fault, remedy=each) for each in remedies]
    assert count("speech_pieces", engine="voice_cloning") == seed + 1
    assert count("speech_characters", engine="voice_cloning") == num_chars
    assert count("speech_seconds", engine="voice_cloning") == pytest.approx(samples / 24_000)
    assert count("model_loads", engine="voice_cloning") == 1
    assert (engine.num_waiting, engine.num_running) == (0, 0)
    with pytest.raises(InvalidRequest):  # refused before it is a sentence
        Events(engine, turn(xtts_folder, text="?!")).data()
    assert count("speech_characters", engine="voice_cloning") == num_chars
    engine.close()


class Patient(Cloning):
    """Has all sound of a sentence ready before it looks at it."""

    def step(self) -> None:
        super().step()
        for narration in self._narrations:
            if narration.speaking and narration.speaking.utterance.is_over:
                wait(list(narration.speaking.sounding))


def test_a_long_sentence_is_said_again_though_its_sound_is_nearly_ready(
    settings: Settings, tmp_path: Path
) -> None:
    """Both pieces of its sound are there when it turns out that it has run on."""
    endless = write_xtts(tmp_path / "xtts_v2", {**TINY, "gpt_max_audio_tokens": 130})
    events: queue.Queue[object] = queue.Queue()
    text = (
        "This is a rather long sentence that takes some seconds to say for anybody who takes care"
    )
    asked = turn(XttsFolder(endless), text=text, voice=StudioVoice("Speaker 0"))
    inbox: Inbox[Asked] = Inbox("voice cloning", 9)
    inbox.put(Job(asked, events.put))
    thread = threading.Thread(target=Patient(settings).serve, args=[inbox])
    thread.start()
    assert isinstance(events.get(timeout=PATIENCE_S), SpokenBlock)
    assert events.get(timeout=PATIENCE_S) == Done()
    inbox.close()
    thread.join(PATIENCE_S)


def _runs_on(
    engine: Engine[Asked], folder: XttsFolder, seed: int, caplog: pytest.LogCaptureFixture
) -> bool:
    caplog.clear()
    assert Events(engine, turn(folder, text="Hi.", seed=seed)).data()
    return "did not end by itself: said again" in caplog.text


def test_those_who_speak_at_once_are_heard_as_if_alone(
    engine: Engine[Asked],
    xtts_folder: XttsFolder,
    my_voice: ClonedVoice,
    studio_speakers: list[str],
) -> None:
    turns = [
        turn(xtts_folder, text=TWO, seed=seed, voice=voice)
        for seed, voice in enumerate([my_voice, StudioVoice(studio_speakers[1])] * 2)
    ]
    alone = [sound(Events(engine, each).data()).samples for each in turns]
    together = [Events(engine, each) for each in turns]
    for events, samples in zip(together, alone, strict=True):
        heard = sound(events.data()).samples
        assert len(heard) == len(samples)
        assert np.abs(heard - samples).max() < 1e-3


def test_a_short_request_is_not_stuck_behind_a_book(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    books = [Events(engine, turn(xtts_folder, text=f"{TWO} " * 12)) for _ in range(3)]
    assert Events(engine, turn(xtts_folder)).data()
    assert all(Done() not in book.queue.queue for book in books)
    for book in books:
        book.job.cancel()


def test_a_cancelled_request_ends_at_once_and_leaves_its_place(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    long = [turn(xtts_folder, text=f"{TWO} " * 50, stream=True) for _ in range(6)]
    books = [Events(engine, each) for each in long]
    next(iter(books[0]))
    for book in books:
        book.job.cancel()
    started = time.monotonic()
    for book in books:
        with pytest.raises(ApiError):
            book.data()
    assert Events(engine, turn(xtts_folder)).data()
    assert time.monotonic() - started < PATIENCE_S / 2  # and not what three hundred sentences take


class Cancelling(Inbox[Asked]):
    """Cancels a job when it has spoken a few tokens: the engine looks in once a step."""

    def __init__(self, job: Job[Asked]) -> None:
        super().__init__("voice cloning", 9)
        self.num_steps = 0
        self._job = job
        self.put(job)

    def take(self, max_jobs: int, wait: bool, patience_s: float | None = None) -> list[Job[Asked]]:
        self.num_steps += not wait
        if self.num_steps == 4:
            self._job.cancel()
        return super().take(max_jobs, wait, patience_s)


def test_one_that_is_cancelled_in_the_middle_of_a_sentence_leaves_its_place(
    settings: Settings, xtts_folder: XttsFolder
) -> None:
    narrow = settings.model_copy(update={"xtts_parallel": 1})
    events: queue.Queue[object] = queue.Queue()
    inbox = Cancelling(Job(turn(xtts_folder, text=TWO), events.put))
    thread = threading.Thread(target=Cloning(narrow).serve, args=[inbox])
    thread.start()
    assert isinstance(events.get(timeout=PATIENCE_S), Failed)
    inbox.put(Job(turn(xtts_folder), events.put))
    assert isinstance(events.get(timeout=PATIENCE_S), SpokenBlock)
    inbox.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_sentences_text_and_tokens_come_with_its_sound(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    for stream in (False, True):
        blocks = list(Events(engine, turn(xtts_folder, text=TWO, stream=stream)))
        texts = [block.text for block in blocks if block.text]
        assert texts == [
            "First there is this sentence.",
            "Then there is a second one, which is longer.",
        ]
        assert blocks[0].text == texts[0]
        read = [block.num_text_tokens for block in blocks if block.text]
        assert sum(block.num_text_tokens for block in blocks) == sum(read)
        assert min(read) > 20  # the tiny model's tokens are letters
        said_s = sum(block.num_audio_tokens for block in blocks) * TOKEN_S
        heard_s = sum(block.sound.duration_s for block in blocks)
        assert said_s == pytest.approx(heard_s, abs=1)


def test_pauses_between_sentences_grow_and_shrink(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    heard_s = [
        sound(Events(engine, turn(xtts_folder, text=TWO, pause_ratio=ratio)).data()).duration_s
        for ratio in (0.5, 1.0, 2.0)
    ]
    assert heard_s[1] - heard_s[0] == pytest.approx((heard_s[2] - heard_s[1]) / 2, abs=0.001)
    assert heard_s[1] - heard_s[0] > 0.1


def test_speed_keeps_the_pitch_and_changes_the_length(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    normal, slow = (
        sound(Events(engine, turn(xtts_folder, speed=speed)).data()).duration_s
        for speed in (1.0, 0.5)
    )
    assert slow / normal == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("text", ["", " ", "?!", "🙂🙂", "\x00\x07"])
def test_nothing_to_say_is_said(engine: Engine[Asked], xtts_folder: XttsFolder, text: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing"):
        Events(engine, turn(xtts_folder, text=text)).data()


@pytest.mark.parametrize(
    "text", ["a", "<speak>Hi <break/> you</speak>", "привет 你好 hello", "x" * 900, "1" * 300]
)
def test_odd_texts_are_spoken(engine: Engine[Asked], xtts_folder: XttsFolder, text: str) -> None:
    assert sound(Events(engine, turn(xtts_folder, text=text)).data()).duration_s > 0


def test_an_unknown_language_is_refused_with_those_there_are(
    engine: Engine[Asked], xtts_folder: XttsFolder
) -> None:
    with pytest.raises(InvalidRequest, match=r"tlh.*hi") as caught:
        Events(engine, turn(xtts_folder, language="tlh")).data()
    assert caught.value.param == "language"


def test_a_folder_that_cannot_be_loaded_is_said_and_the_next_one_works(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    (tmp_path / "xtts_v2").mkdir()
    with pytest.raises(Unavailable, match=r"xtts_v2 cannot be loaded: FileNotFoundError"):
        Events(engine, turn(XttsFolder(tmp_path / "xtts_v2"))).data()
    assert Events(engine, turn(xtts_folder)).data()


def test_weights_that_are_not_there_are_said_and_health_says_it_until_another_is_loaded(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    half = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "half"))
    shutil.rmtree(half.converted, ignore_errors=True)
    drop_weight(half, "gpt.gpt.h.1.attn.c_attn.weight")
    with pytest.raises(Unavailable, match=r"half cannot be loaded: it has no h\.1\.attn"):
        Events(engine, turn(half)).data()
    assert engine.status.state == "unavailable"
    assert "h.1.attn" in str(engine.status.reason)
    assert Events(engine, turn(xtts_folder)).data()
    assert engine.status == Status("ready")


def test_whatever_goes_wrong_while_a_model_is_loaded_the_request_ends(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    assert Events(engine, turn(xtts_folder)).data()
    odd = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "odd"))
    (odd.converted / "gpt.gguf").write_bytes(b"GGUF")  # damaged, and said to be whole
    with pytest.raises(ApiError):
        Events(engine, turn(odd)).data()
    (odd.converted / "gpt.gguf").write_bytes((xtts_folder.converted / "gpt.gguf").read_bytes())
    (odd.converted / "vocoder.onnx").write_bytes(b"no network")
    with pytest.raises(
        Unavailable, match=r"vocoder\.onnx cannot be loaded: .* Remove .*vocoder\.onnx"
    ):
        Events(engine, turn(odd)).data()
    assert engine.status.state == "unavailable"
    assert Events(engine, turn(xtts_folder)).data()


def test_what_an_earlier_version_converted_is_converted_anew(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    assert Events(engine, turn(xtts_folder)).data()
    old = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "old"))
    note = json.loads((old.converted / "made-from.json").read_text())
    assert note["recipe"] == 2
    (old.converted / "made-from.json").write_text(json.dumps(note | {"recipe": 1}))
    (old.converted / "vocoder.onnx").write_bytes(b"a network with other inputs")
    assert Events(engine, turn(old)).data()
    assert json.loads((old.converted / "made-from.json").read_text()) == note


def test_a_language_that_a_fine_tuned_model_does_not_have_is_refused(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    german = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "german"))
    config = json.loads((german.path / "config.json").read_text())
    (german.path / "config.json").write_text(json.dumps(config | {"languages": ["de"]}))
    assert Events(engine, turn(german, language="de-AT")).data()
    with pytest.raises(InvalidRequest, match=r"german does not speak en.*de") as caught:
        Events(engine, turn(german, language="en")).data()
    assert caught.value.param == "language"


def test_a_voice_whose_clip_is_gone_is_said(
    engine: Engine[Asked], xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    voice = ClonedVoice("gone", (tmp_path / "gone.wav",), "", "")
    with pytest.raises(InvalidRequest, match=r"gone\.wav"):
        Events(engine, turn(xtts_folder, voice=voice)).data()


def test_an_idle_model_is_unloaded_and_comes_back_when_it_is_asked_for(
    settings: Settings, xtts_folder: XttsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    hasty = settings.model_copy(update={"xtts_unload_after_s": 1})
    engine = cloning_engine(hasty)
    engine.open()
    try:
        first = Events(engine, turn(xtts_folder)).data()
        deadline = time.monotonic() + PATIENCE_S
        while "unloaded" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert Events(engine, turn(xtts_folder)).data() == first
    finally:
        engine.close()


def test_a_model_is_loaded_and_freed_by_request_and_speaks_as_before(
    settings: Settings, xtts_folder: XttsFolder
) -> None:
    engine = cloning_engine(settings)
    engine.open()
    try:
        assert list(Events(engine, MemoryTurn(xtts_folder))) == []
        assert engine.states() == {xtts_folder.id: "loaded"}
        speaking = Events(engine, turn(xtts_folder))
        freed = Events(engine, MemoryTurn(xtts_folder, is_to_stay=False))  # when that is spoken
        first = speaking.data()
        assert list(freed) == []
        assert engine.states() == {}
        assert Events(engine, turn(xtts_folder)).data() == first
    finally:
        engine.close()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_path_of_a_gpu_speaks_like_the_one_of_a_cpu(
    engine: Engine[Asked],
    settings: Settings,
    xtts_folder: XttsFolder,
    my_voice: ClonedVoice,
    dtype: str,
) -> None:
    # torch's other name for the CPU: all that a GPU does, where there may be none.
    changes = {"xtts_device": "cpu:0", "xtts_dtype": dtype}
    on_gpu = settings.model_copy(update=changes)
    other = cloning_engine(on_gpu)
    other.open()
    try:
        for voice in (my_voice, StudioVoice("Speaker 1")):
            asked = turn(xtts_folder, voice=voice, sampling=SamplingChanges(temperature=0))
            # The first tokens: where two are all but as likely, the last digits decide between them.
            wanted, heard = (
                sound(Events(each, asked).data()).samples[:NUM_ALIKE] for each in (engine, other)
            )
            assert len(heard) == NUM_ALIKE
            assert np.abs(heard - wanted).max() < 0.05 * np.abs(wanted).max()
    finally:
        other.close()


def test_at_start_it_is_loaded_before_anybody_asks(
    settings: Settings, xtts_folder: XttsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    eager = settings.model_copy(
        update={
            "xtts_at_start": True,
            "accept_xtts_license": True,
            "models_dir": xtts_folder.path.parent,
        }
    )
    engine = cloning_engine(eager)
    engine.open()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while engine.status.state == "loading":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "XTTS model xtts_v2 loaded" in caplog.text
    finally:
        engine.close()
