"""The synthesizer: speech requests, each perhaps of several voices and engines, made into one file each.

To the routes it is an engine as the others are. The parts of a request are spoken one after the other, each
by its engine; what they say becomes bytes on that engine's thread, and a whole file on a thread of its own.
"""

import logging
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engine_room.encoding import resampled
from engine_room.errors import ApiError, InternalError, NothingToSay, ShuttingDown
from engine_room.jobs import Deliver, Done, Engine, Event, Failed, Job
from engine_room.recordings import Recordings
from engine_room.speech import SpeechTurn
from engine_room.speech_output import Output
from engine_room.speech_writer import SpeechWriter
from engine_room.spoken import Caption, SpokenBlock
from engine_room.xtts.turn import XttsTurn

log = logging.getLogger(__name__)
RATE_HZ = 24_000  # what both engines have


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a text in one voice, None: silence only; then so much silence. `own_lufs` is how loud the
    voice is, where that is known."""

    turn: SpeechTurn | XttsTurn | None
    pause_s: float = 0.0
    own_lufs: float | None = None


@dataclass(frozen=True, slots=True)
class SynthesisTurn:
    """One request. The items of its answer are bytes of `output`, all in one, or, with `stream`, as they are
    made, and, `with_captions`, Captions, each after its sound; the result is a Spoken. It is kept under the
    name of its voice and text, and its `key`; `kept` is the file of an earlier one."""

    parts: tuple[Part, ...]
    output: Output
    stream: bool
    target_lufs: float
    voice_id: str
    text: str
    key: str
    with_captions: bool = False
    kept: bytes | None = None


class SynthesisJob(Job[SynthesisTurn]):
    """A request under way; cancelling it cancels the part that is spoken."""

    part: Job[SpeechTurn] | Job[XttsTurn] | None = None

    def cancel(self) -> None:
        """See Job."""
        super().cancel()
        if part := self.part:
            part.cancel()


class Synthesizer:
    """Hands parts to the engines. Any thread may call it."""

    def __init__(
        self, light: Engine[SpeechTurn], cloning: Engine[XttsTurn], recordings: Recordings
    ) -> None:
        self._light, self._cloning = light, cloning
        self._recordings = recordings
        self._finisher = ThreadPoolExecutor(2, "speech files")

    def submit(self, turn: SynthesisTurn, deliver: Deliver) -> Job[SynthesisTurn]:
        """See Engine; `deliver` is called on the threads of the engines, one after the other. Raises
        QueueFull, ShuttingDown."""
        job = SynthesisJob(turn, deliver)
        if turn.kept is None:
            _Synthesis(self, job).go_on()
        else:
            deliver(turn.kept)
            deliver(Done())
        return job

    def close(self) -> None:
        """Finish the files that are nearly done."""
        self._finisher.shutdown()

    def speak(
        self, turn: SpeechTurn | XttsTurn, deliver: Deliver, goes_on: bool
    ) -> Job[SpeechTurn] | Job[XttsTurn]:
        """Have an engine speak one part, the first or one that goes on."""
        if isinstance(turn, XttsTurn):
            return self._cloning.submit(turn, deliver, goes_on)
        return self._light.submit(turn, deliver, goes_on)

    def finish(self, synthesis: "_Synthesis") -> None:
        """Make a whole file, elsewhere than on an engine's thread: that of a book takes seconds."""
        self._finisher.submit(synthesis.finish)

    def keep(self, turn: SynthesisTurn, data: bytes) -> None:
        """Keep a finished file."""
        name = turn.output.format_name
        self._recordings.keep(data, turn.voice_id, turn.text, name, turn.key)


class _Synthesis:
    """One request on its way; one thread at a time."""

    def __init__(self, synthesizer: Synthesizer, job: SynthesisJob) -> None:
        turn = job.turn
        self._synthesizer, self._job = synthesizer, job
        self._writer = SpeechWriter(turn.output, RATE_HZ, turn.stream, turn.target_lufs)
        self._parts = deque(turn.parts)
        self._part: Part
        self._turns = threading.RLock()
        self._has_spoken = self._is_over = False
        self._early = b""  # of silence before the first sound, which may yet be an error

    def go_on(self) -> None:
        """Begin with the next part. Raises QueueFull, ShuttingDown."""
        with self._turns:  # the part may speak before it is known which one it is
            self._go_on()

    def _go_on(self) -> None:
        while self._parts:
            self._part = self._parts.popleft()
            turn = self._part.turn
            if turn is not None:
                self._writer.begin(turn.voice.id, self._part.own_lufs)
                self._job.part = self._synthesizer.speak(
                    turn, self._hear, goes_on=self._job.part is not None
                )
                if self._job.cancelled:  # just now, when there was no such part yet
                    self._job.part.cancel()
                return
            self._send(*self._writer.end(self._part.pause_s))
        if self._job.turn.stream:
            self.finish()
        else:
            self._synthesizer.finish(self)

    def _hear(self, event: Event) -> None:
        """On the engine's thread."""
        with self._turns:
            if not self._is_over:
                self._take(event)

    def _take(self, event: Event) -> None:
        try:
            if isinstance(event, SpokenBlock):
                self._add(event)
            elif isinstance(event, Done):
                self._send(*self._writer.end(self._part.pause_s))
                self.go_on()
            elif isinstance(event, Failed):
                self._skip(event.error)
        except ApiError as error:
            self._fail(error)
        except Exception:
            log.exception("a request failed")
            self._fail(InternalError())

    def _add(self, block: SpokenBlock) -> None:
        self._has_spoken = True
        if block.sound.rate_hz != RATE_HZ:
            sound = resampled(block.sound, RATE_HZ)
            block = SpokenBlock(sound, block.text, block.num_text_tokens, block.num_audio_tokens)
        self._send(*self._writer.add(block))

    def _skip(self, error: ApiError) -> None:
        """A part without a word is only its pause, where there are others."""
        if not isinstance(error, NothingToSay) or not (self._parts or self._has_spoken):
            raise error
        self._send(*self._writer.end(self._part.pause_s))
        self.go_on()

    def _send(self, data: bytes, caption: Caption | None) -> None:
        self._early += data
        if self._has_spoken and self._early:
            data, self._early = self._early, b""
            self._job.deliver(data)
        if caption and self._job.turn.with_captions:
            self._job.deliver(caption)

    def _fail(self, error: ApiError) -> None:
        self._is_over = True
        if part := self._job.part:
            part.cancel()
        self._job.deliver(Failed(error))

    def finish(self) -> None:
        """Send what is left, and keep the file."""
        if self._job.cancelled:
            self._fail(ShuttingDown())
            return
        try:
            if not self._has_spoken:
                raise NothingToSay
            if data := self._writer.finish():
                self._job.deliver(data)
            self._synthesizer.keep(self._job.turn, self._writer.file)
        except ApiError as error:
            self._fail(error)
        except Exception:
            log.exception("a file of speech could not be finished")
            self._fail(InternalError())
        else:
            self._job.deliver(Done(self._writer.spoken))
