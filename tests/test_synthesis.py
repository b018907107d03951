"""One file of one request, whoever speaks its parts: with engines that beep."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.decoding import decode
from engine_room.encoding import Sound
from engine_room.errors import InternalError, InvalidRequest, NothingToSay, QueueFull, ShuttingDown
from engine_room.jobs import Deliver, Done, Engine, Event, Failed, Job, serially
from engine_room.recordings import Recordings
from engine_room.settings import Settings
from engine_room.speech import SpeechTurn
from engine_room.speech_output import Output
from engine_room.spoken import Caption, Spoken, SpokenBlock
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.synthesis import Part, SynthesisTurn, Synthesizer
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.turn import StudioVoice, XttsTurn

RATE_HZ = 24_000
PATIENCE_S = 20


def beep(job: Job[Any], level: float) -> Iterator[Event]:
    """A block of a tenth of a second for each word; "#" is silent, "!" an error, "…" goes on for ever."""
    words = job.turn.text.split()
    if words == ["#"]:
        raise NothingToSay
    if words == ["…"]:
        while not job.cancelled:
            yield SpokenBlock(Sound(np.full(2400, 0.1, np.float32), RATE_HZ), "…")
        return
    for word in words:
        if word == "!":
            raise InvalidRequest("That is no word.")
        samples = level * np.where(np.arange(2400) % 2, 1, -1)
        yield SpokenBlock(Sound(samples.astype(np.float32), RATE_HZ), word, len(word), 8)
    yield Done()


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    recordings = Recordings(Settings(_env_file=None, audio_dir=tmp_path))
    recordings.open()
    yield recordings
    recordings.close()


@pytest.fixture
def synthesizer(recordings: Recordings) -> Iterator[Synthesizer]:
    light: Engine[SpeechTurn] = Engine("speech", lambda: serially(lambda job: beep(job, 0.2)), 2)
    cloning: Engine[XttsTurn] = Engine("cloning", lambda: serially(lambda job: beep(job, 0.1)), 2)
    light.open()
    cloning.open()
    synthesizer = Synthesizer(light, cloning, recordings)
    yield synthesizer
    light.close()
    cloning.close()
    synthesizer.close()


def light(text: str, pause_s: float = 0, voice: str = "nova") -> Part:
    return Part(SpeechTurn(text, "", STANDARD_VOICES[voice]), pause_s, -22)


def cloned(text: str, pause_s: float = 0) -> Part:
    turn = XttsTurn(XttsFolder(Path("x")), text, "", StudioVoice("Ana"), 1, False)
    return Part(turn, pause_s, -22)


def turn(*parts: Part, **changes: Any) -> SynthesisTurn:
    fields: dict[str, Any] = {
        "output": Output("wav", RATE_HZ),
        "stream": False,
        "target_lufs": -22,
        "voice_id": "nova",
        "text": "Hello there.",
        "key": "ab" * 32,
    }
    return SynthesisTurn(parts, **(fields | changes))


def answered(synthesizer: Synthesizer, asked: SynthesisTurn) -> list[Any]:
    """All events of an answer, its end last."""
    events: queue.Queue[Event] = queue.Queue()
    synthesizer.submit(asked, events.put)
    found = [events.get(timeout=PATIENCE_S)]
    while not isinstance(found[-1], Done | Failed):
        found.append(events.get(timeout=PATIENCE_S))
    return found


def heard(blocks: list[Any]) -> list[float]:
    """Which level is heard, in tenths of a second."""
    samples = np.abs(decode(b"".join(blocks), RATE_HZ).samples)
    levels = samples[: len(samples) // 2400 * 2400].reshape(-1, 2400).mean(1)
    return [round(float(level), 1) for level in levels]


@pytest.mark.parametrize("stream", [False, True])
def test_parts_of_several_engines_are_one_file_with_the_pauses_between(
    synthesizer: Synthesizer, stream: bool
) -> None:
    parts = [Part(None, 0.1), light("a b", 0.3), cloned("c", 0.2), light("d")]
    *blocks, end = answered(synthesizer, turn(*parts, stream=stream))
    assert heard(blocks) == [0, 0.2, 0.2, 0, 0, 0, 0.1, 0, 0, 0.2]
    assert end == Done(Spoken(1.0, 4, 32))
    assert (len(blocks) > 1) == stream


def test_captions_are_for_those_who_want_them(synthesizer: Synthesizer) -> None:
    parts = (light("one two", 0.5), cloned("three"))
    *items, _ = answered(synthesizer, turn(*parts, stream=True, with_captions=True))
    assert [item for item in items if isinstance(item, Caption)] == [
        Caption("one", 0, 0.1),
        Caption("two", 0.1, 0.2),
        Caption("three", 0.7, 0.8),
    ]
    *items, _ = answered(synthesizer, turn(*parts, stream=True))
    assert all(isinstance(item, bytes) for item in items)


def test_a_part_that_fails_ends_the_answer_with_its_error(synthesizer: Synthesizer) -> None:
    *blocks, end = answered(synthesizer, turn(light("a"), cloned("!"), light("b"), stream=True))
    assert blocks
    assert isinstance(end, Failed)
    assert end.error.message == "That is no word."
    (end,) = answered(synthesizer, turn(light("a"), cloned("!")))
    assert isinstance(end, Failed)


def test_an_error_comes_before_any_byte_even_after_a_pause(synthesizer: Synthesizer) -> None:
    (end,) = answered(synthesizer, turn(Part(None, 1), light("!"), stream=True))
    assert isinstance(end, Failed)


def test_a_part_without_words_is_left_out_unless_all_are(synthesizer: Synthesizer) -> None:
    *blocks, end = answered(synthesizer, turn(light("#"), cloned("a"), light("#")))
    assert isinstance(end, Done)
    assert heard(blocks) == [0.1]
    for parts in ([light("#")], [light("#"), cloned("#")]):
        (end,) = answered(synthesizer, turn(*parts))
        assert isinstance(end, Failed)
        assert isinstance(end.error, NothingToSay)


def test_an_answer_is_kept_under_its_key_however_it_was_sent(
    synthesizer: Synthesizer, recordings: Recordings, tmp_path: Path
) -> None:
    *blocks, _ = answered(synthesizer, turn(light("a")))
    answered(synthesizer, turn(light("a"), stream=True, key="cd" * 32))
    recordings.close()
    assert recordings.found("ab" * 32, "wav") == recordings.found("cd" * 32, "wav") == blocks[0]
    assert sorted(path.name[20:] for path in tmp_path.iterdir()) == [
        "nova_hello-there_abababababababab.wav",
        "nova_hello-there_cdcdcdcdcdcdcdcd.wav",
    ]


def test_what_is_kept_already_is_not_spoken_again(
    synthesizer: Synthesizer, recordings: Recordings, tmp_path: Path
) -> None:
    assert answered(synthesizer, turn(light("!"), kept=b"sound")) == [b"sound", Done()]
    recordings.close()
    assert list(tmp_path.iterdir()) == []


def test_cancelling_stops_the_part_that_is_spoken_and_keeps_nothing(
    synthesizer: Synthesizer, recordings: Recordings, tmp_path: Path
) -> None:
    events: queue.Queue[Event] = queue.Queue()
    job = synthesizer.submit(turn(light("a"), cloned("…"), light("b"), stream=True), events.put)
    for _ in range(3):
        assert isinstance(events.get(timeout=PATIENCE_S), bytes)
    job.cancel()
    while not isinstance(end := events.get(timeout=PATIENCE_S), Failed):
        assert isinstance(end, bytes)
    assert isinstance(end.error, ShuttingDown)
    assert isinstance(answered(synthesizer, turn(cloned("a"), key=""))[-1], Done)
    recordings.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_queue_is_said_at_once(synthesizer: Synthesizer) -> None:
    endless = turn(cloned("…"), stream=True)
    events: queue.Queue[Event] = queue.Queue()
    jobs = [synthesizer.submit(endless, events.put)]
    assert events.get(timeout=PATIENCE_S)  # it is taken out of the queue
    jobs += [synthesizer.submit(endless, events.put) for _ in range(2)]
    with pytest.raises(QueueFull):
        synthesizer.submit(endless, events.put)
    for job in jobs:
        job.cancel()


class Gate:
    """What a first part is held at, so that others come meanwhile."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def answer(self, job: Job[Any]) -> Iterator[Event]:
        if job.turn.text == "gate":
            self.reached.set()
            assert self.open.wait(PATIENCE_S)
        yield from beep(job, 0.2)


@pytest.fixture
def gate(synthesizer: Synthesizer) -> Iterator[Gate]:
    """The light engine is one with a gate now."""
    gate = Gate()
    engine: Engine[SpeechTurn] = Engine("speech", lambda: serially(gate.answer), 2)
    engine.open()
    synthesizer._light = engine
    yield gate
    engine.close()


THREE = (light("gate"), light("b", voice="onyx"), light("c"))


def test_a_text_that_has_begun_goes_on_before_those_that_wait_however_many(
    synthesizer: Synthesizer, gate: Gate
) -> None:
    ends: queue.Queue[tuple[str, Event]] = queue.Queue()

    def note(name: str) -> Deliver:
        return lambda event: ends.put((name, event)) if isinstance(event, Done | Failed) else None

    synthesizer.submit(turn(*THREE, stream=True), note("begun"))
    assert gate.reached.wait(PATIENCE_S)
    for _ in range(2):  # now the queue is full
        synthesizer.submit(turn(light("x"), stream=True), note("other"))
    gate.open.set()
    found = [ends.get(timeout=PATIENCE_S) for _ in range(3)]
    assert [name for name, _ in found] == ["begun", "other", "other"]
    assert all(isinstance(end, Done) for _, end in found)


def test_a_text_that_has_begun_is_finished_while_its_engine_closes(
    synthesizer: Synthesizer, gate: Gate
) -> None:
    events: queue.Queue[Event] = queue.Queue()
    refused: queue.Queue[Event] = queue.Queue()
    synthesizer.submit(turn(*THREE, stream=True), events.put)
    assert gate.reached.wait(PATIENCE_S)
    synthesizer.submit(turn(light("x")), refused.put)
    engine: Any = synthesizer._light
    engine.refuse()
    assert isinstance(refused.get(timeout=PATIENCE_S), Failed)
    gate.open.set()
    found = [events.get(timeout=PATIENCE_S)]
    while not isinstance(found[-1], Done | Failed):
        found.append(events.get(timeout=PATIENCE_S))
    assert isinstance(found[-1], Done)
    engine.close()
    with pytest.raises(ShuttingDown):
        engine.submit(THREE[0].turn, print, goes_on=True)


class Broken(Recordings):
    """Fails when it is to keep something."""

    def keep(self, *args: Any) -> None:
        raise OSError("no space left")


@pytest.mark.parametrize("stream", [False, True])
def test_whatever_breaks_ends_its_own_answer_and_no_other(
    synthesizer: Synthesizer, tmp_path: Path, stream: bool
) -> None:
    broken = Synthesizer(
        synthesizer._light, synthesizer._cloning, Broken(Settings(audio_dir=tmp_path))
    )
    *_, end = answered(broken, turn(light("a"), stream=stream))
    assert isinstance(end, Failed)
    assert isinstance(end.error, InternalError)
    assert isinstance(answered(synthesizer, turn(light("a"), stream=stream))[-1], Done)
    broken.close()
