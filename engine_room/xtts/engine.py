"""The engine for cloned voices: one thread, and as many sentences at once as the GPT has places.

A step decodes a batch: the prompts of sentences that begin, and a position for each that speaks. Sound is
made of their latents as soon as there are some, the first after a few. Requests take turns by the
sentence, so a short one is not stuck behind a book.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import numpy as np
import psutil

from engine_room.cores import Cores
from engine_room.errors import ApiError, InternalError, ShuttingDown, Unavailable
from engine_room.jobs import Done, Engine, Failed, Inbox, Job, MemoryTurn, Serve, Status
from engine_room.metrics import Metrics, Remedy
from engine_room.settings import Settings
from engine_room.xtts.folder import XttsFolder, default_folder
from engine_room.xtts.gpt import Floats, Span
from engine_room.xtts.guard import Fault, is_one_breath, mended, tail_begin
from engine_room.xtts.languages import language_of
from engine_room.xtts.model import NUM_VOCODERS, XttsModel
from engine_room.xtts.narration import (
    MAX_LATENTS,
    Narration,
    Sentence,
    Speaking,
    batches,
    enough_after,
)
from engine_room.xtts.pace import expected, max_audio_tokens
from engine_room.xtts.places import Places
from engine_room.xtts.readiness import cloning_status
from engine_room.xtts.sampling import AudioSampler
from engine_room.xtts.text import Piece, pieces, spoken
from engine_room.xtts.turn import XttsTurn
from engine_room.xtts.utterance import Utterance, latents_and_logits
from engine_room.xtts.vocoder import VocoderStream

log = logging.getLogger(__name__)
T = TypeVar("T")
Asked = XttsTurn | MemoryTurn[XttsFolder]
PART = "cloning"
NOT_LOADED = Unavailable("The XTTS model could not be loaded.", "See the log.")
MAX_OPEN = 64  # requests that take turns; the others wait in the inbox


def cloning_engine(
    settings: Settings, cores: Cores | None = None, metrics: Metrics | None = None
) -> Engine[Asked]:
    """The engine, not yet open. It is ready without a model: that is loaded at the first turn."""

    def load() -> Serve[Asked]:
        cloning = Cloning(settings, cores, partial(setattr, engine, "status"), metrics, in_memory)
        if settings.xtts_at_start and cloning_status(settings).state == "ready":
            cloning.use(default_folder(settings.models_dir))
        return cloning.serve

    in_memory: set[str] = set()
    engine = Engine("voice cloning", load, settings.max_queued, in_memory=in_memory)
    return engine


class Cloning:
    """The model in memory, and the narrations under way. Belongs to the engine's thread."""

    def __init__(
        self,
        settings: Settings,
        cores: Cores | None = None,
        report: Callable[[Status], None] = lambda status: None,
        metrics: Metrics | None = None,
        in_memory: set[str] | None = None,
    ) -> None:
        self._settings = settings
        self._report = report
        self._in_memory = set() if in_memory is None else in_memory
        self._cores, self._metrics = cores or Cores(), metrics or Metrics()
        self._metrics.expect_faults(fault.name for fault in Fault)
        self._model: XttsModel | None = None
        self._inbox: Inbox[Any]
        self._jobs: deque[Job[Any]] = deque()
        self._preparing: list[tuple[Job[XttsTurn], Future[Narration]]] = []
        # Those that have begun; whose turn it is to begin a sentence is first.
        self._narrations: deque[Narration] = deque()
        self._places: Places
        self._last_work = time.monotonic()
        self._preparer = ThreadPoolExecutor(1, "cloned voices")

    def use(self, folder: XttsFolder) -> XttsModel:
        """Have this model in memory, in place of the one before. Raises Unavailable."""
        if self._model and self._model.folder == folder:
            return self._model
        self._unload()
        try:
            model = XttsModel(folder, self._settings, self._cores.total, self._is_loading)
        except Exception as error:
            known = error if isinstance(error, Unavailable) else NOT_LOADED
            self._report(Status("unavailable", known.reason, known.mend))
            raise
        self._report(Status("ready"))
        self._metrics.loaded("voice_cloning")
        self._model = model
        self._in_memory.add(folder.id)
        self._last_work = time.monotonic()
        self._places = Places(model.gpt, model.num_voice_ids, self._decoded)
        return model

    def _is_loading(self, doing: str) -> None:
        self._report(Status("loading", doing))

    def _unload(self) -> None:
        if self._model:
            before = psutil.Process().memory_info().rss
            self._model.close()
            freed = (before - psutil.Process().memory_info().rss) / 1e6
            log.info("XTTS model %s unloaded, %.0f MB freed", self._model.folder.id, freed)
        self._model = None
        self._in_memory.clear()

    def serve(self, inbox: Inbox[Asked]) -> None:
        """Answer what comes into the inbox until it is closed."""
        self._inbox = inbox
        while not (inbox.closed and self._is_idle and not self._preparing):
            num_open = len(self._jobs) + len(self._preparing) + len(self._narrations)
            self._jobs += inbox.take(MAX_OPEN - num_open, not self._can_step, self._patience_s)
            if self._is_idle and not self._preparing and self._is_tired:
                self._unload()
            if inbox.closed and not self._can_step:  # then `take` does not wait
                wait(self._futures, return_when=FIRST_COMPLETED)
            try:
                self.step()
            except Exception:
                log.exception("voice cloning failed")
                self._fail_all()
        self._unload()

    @property
    def _patience_s(self) -> float | None:
        """How long the model may lie idle."""
        return self._settings.xtts_unload_after_s or None if self._model else None

    @property
    def _is_tired(self) -> bool:
        idle_s = time.monotonic() - self._last_work
        return bool(self._patience_s and idle_s >= self._patience_s)

    @property
    def _can_step(self) -> bool:
        """False while there is nothing to do but to wait for what others do."""
        return self._may_admit or any(narration.can_go_on for narration in self._narrations)

    @property
    def _may_admit(self) -> bool:
        """False while the first job waits for others that are spoken by another model."""
        if not self._jobs:
            return False
        is_busy, turn = self._narrations or self._preparing, self._jobs[0].turn
        beside = turn.beside if isinstance(turn, MemoryTurn) else turn.folder
        return not is_busy or beside == self._loaded.folder

    @property
    def _futures(self) -> list[Future[Any]]:
        speaking = [n.speaking for n in self._narrations if n.speaking]
        sounding = [each.sounding[0] for each in speaking if each.sounding]
        return [future for _, future in self._preparing] + sounding

    @property
    def _is_idle(self) -> bool:
        return not (self._jobs or self._narrations)

    def step(self) -> None:
        """Let in who waits, decode one batch, draw a token for each who speaks, and make sound."""
        self._drop_cancelled()
        self._admit()
        self._collect_sounds()
        self._begin_sentences()
        for batch in batches(self._narrations):
            self._decode(batch)
            self._last_work = time.monotonic()

    def _decode(self, batch: list[tuple[Narration, Speaking]]) -> None:
        spans = [speaking.utterance.span() for _, speaking in batch]
        # llama.cpp's attention of one token adds up by threads: a seed would not always give the same.
        is_exact = batch[0][0].is_seeded and len(spans[0].embeddings) == 1
        hidden = self._decoded(spans, max_threads=int(is_exact))
        latents, logits = latents_and_logits(self._loaded.tables, hidden)
        for (narration, speaking), latent, scores in zip(batch, latents, logits, strict=True):
            speaking.utterance.accept(latent, scores)
            self._make_sound(narration, speaking)

    @property
    def _loaded(self) -> XttsModel:
        assert self._model
        return self._model

    # ------------------------------------------------------------ in

    def _admit(self) -> None:
        """Prepare the jobs for the model in memory; the first for another one waits for all others."""
        while self._may_admit:
            job = self._jobs.popleft()
            if isinstance(job.turn, MemoryTurn):
                self._tried(job, partial(self._keep, job))
            elif model := self._tried(job, partial(self.use, job.turn.folder)):
                future = self._preparer.submit(self._prepared, job, model)
                self._preparing.append((job, future))
                future.add_done_callback(lambda _: self._inbox.wake())
        for job, future in [each for each in self._preparing if each[1].done()]:
            self._preparing.remove((job, future))
            if narration := self._tried(job, future.result):
                self._narrations.append(narration)

    def _keep(self, job: Job[MemoryTurn[XttsFolder]]) -> None:
        if job.turn.is_to_stay:
            self.use(job.turn.model)
        elif self._model and self._model.folder == job.turn.model:
            self._unload()
        self._inbox.end(job, Done())

    def _tried(self, job: Job[XttsTurn], deed: Callable[[], T]) -> T | None:
        """What a deed for a job gives; None when it fails, and the job with it."""
        try:
            return deed()
        except ApiError as error:
            self._inbox.end(job, Failed(error))
        except Exception:
            log.exception("a request failed")
            self._inbox.end(job, Failed(InternalError()))
        return None

    def _prepared(self, job: Job[XttsTurn], model: XttsModel) -> Narration:
        """On the preparer's thread. Raises InvalidRequest, InvalidAudio."""
        turn = job.turn
        own = getattr(turn.voice, "language", "")
        language = language_of(turn.text, turn.language, own, self._settings.xtts_language)
        model.check_speaks(language)

        def tokens(text: str) -> list[int]:
            return model.text_tokens(text, language)

        def sentence(piece: Piece) -> Sentence:
            return Sentence(
                piece.text,
                tokens(spoken(piece.text, language)),
                max_audio_tokens(piece.text, language),
                expected(piece.text, language),
                is_one_breath(piece.text),
                piece.pause_s,
            )

        texts = pieces(turn.text, language, lambda text: len(tokens(text)), model.max_text_tokens)
        sentences = [sentence(piece) for piece in texts]
        return Narration(job, sentences, model.conditioning(turn.voice), model.sample_rate_hz)

    def _begin_sentences(self) -> None:
        """Give free places to those whose turn it is, as far as the GPT has room for all they may say."""
        for narration in [n for n in self._narrations if not n.speaking]:
            taken = sum(n.num_positions for n in self._narrations)
            room = self._loaded.num_sentence_positions - taken
            if not self._places.has_free or room < self._loaded.max_sentence_positions:
                break
            self._begin(narration)
            self._narrations.remove(narration)
            self._narrations.append(narration)

    def _begin(self, narration: Narration) -> None:
        """Give its next sentence a place, the voice in it already."""
        sentence, seed, is_retry = narration.next_sentence()
        model, turn = self._loaded, narration.job.turn
        utterance = Utterance(
            model.tables,
            narration.conditioning,
            sentence.tokens,
            AudioSampler(turn.sampling.of(model.sampling), seed, model.tables.start_audio),
            sentence.max_audio_tokens,
        )
        utterance.seq_id = self._places.take(narration.voice_key, narration.conditioning)
        utterance.skip(len(narration.conditioning.latents))
        stretches = model.stretches if turn.speed == 1 else (1 / turn.speed, *model.stretches)
        vocoder = VocoderStream(model.network, narration.conditioning.speaker, stretches)
        narration.speaking = Speaking(sentence, seed, utterance, vocoder, is_retry=is_retry)

    def _decoded(self, spans: Sequence[Span], max_threads: int = 0) -> Floats:
        with self._cores.working(PART, max_threads):
            return self._loaded.gpt.decode(spans, self._cores.share(PART))

    # ------------------------------------------------------------ out

    def _make_sound(self, narration: Narration, speaking: Speaking) -> None:
        """Have latents made sound, when there are enough of them or no more to come: on threads beside this
        one, for the GPT waits for memory and the vocoder computes."""
        utterance = speaking.utterance
        if utterance.is_over:
            self._release(speaking)
        enough = speaking.num_enough if narration.job.turn.stream else MAX_LATENTS
        is_due = utterance.is_over or utterance.num_latents >= enough
        if speaking.is_last or len(speaking.sounding) == NUM_VOCODERS or not is_due:
            return
        speaking.num_latents += utterance.num_latents
        speaking.num_enough = enough_after(speaking.num_latents)
        speaking.is_last = utterance.is_over
        if not (speaking.is_last and self._said_again(narration, speaking, speaking.fault)):
            work = speaking.vocoder.add(utterance.take(), speaking.is_last)
            future = self._loaded.vocoders.submit(self._sound, work)
            future.add_done_callback(lambda _: self._inbox.wake())
            speaking.sounding.append(future)

    def _sound(self, work: Callable[[], Floats]) -> Floats:
        """On a vocoder's thread."""
        with self._cores.working(threading.current_thread().name, self._loaded.num_vocoder_threads):
            return work()

    def _collect_sounds(self) -> None:
        """Send on what has been made, in its order."""
        for narration in list(self._narrations):
            speaking = narration.speaking
            # Until it is over, or said again: then what is left of it is nobody's.
            while (
                speaking
                and narration.speaking is speaking
                and speaking.sounding
                and speaking.sounding[0].done()
            ):
                sound = speaking.sounding.popleft().result()
                if speaking.is_last and not speaking.sounding:
                    self._end_sentence(narration, speaking, sound)
                else:
                    narration.hear(sound)
                    self._make_sound(narration, speaking)

    def _said_again(self, narration: Narration, speaking: Speaking, fault: Fault | None) -> bool:
        """A sentence with a fault is said once more, otherwise, if nobody has heard any of it."""
        if fault is None or not speaking.can_be_said_again:
            return False
        self._note(narration, fault, "said again")
        narration.say_again()
        return True

    def _end_sentence(self, narration: Narration, speaking: Speaking, last: Floats) -> None:
        rate_hz, speed = self._loaded.sample_rate_hz, narration.job.turn.speed
        sound, fault, tail = np.concatenate([*speaking.sounds, last]), speaking.fault, None
        if speaking.sentence.is_one_breath and not fault:
            tail = tail_begin(sound, round(rate_hz / speed), speaking.sentence.expected)
            fault = fault if tail is None else Fault.INVENTED_TAIL
        if tail is not None and self._said_again(narration, speaking, fault):
            return
        if fault:
            self._note(narration, fault, "left as it is" if fault is Fault.TOO_SHORT else "cut")
        sound = mended(sound, rate_hz, fault, tail)
        self._metrics.spoke("voice_cloning", len(speaking.sentence.text), len(sound) / rate_hz)
        narration.end_sentence(sound)
        if not narration.has_more:
            self._narrations.remove(narration)
            self._inbox.end(narration.job, Done())

    def _note(self, narration: Narration, fault: Fault, remedy: Remedy) -> None:
        level = logging.INFO if remedy == "said again" else logging.WARNING
        voice = narration.job.turn.voice.id
        log.log(level, "a sentence in the voice %s %s: %s", voice, fault.value, remedy)
        self._metrics.found_fault(fault.name, remedy)

    def _release(self, speaking: Speaking) -> None:
        """Give the place in the GPT back; once more does no harm."""
        utterance = speaking.utterance
        if utterance.seq_id >= 0:
            self._places.give_back(utterance.seq_id)
            utterance.seq_id = -1

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancelled]:
            self._jobs.remove(job)
            self._inbox.end(job, Failed(ShuttingDown()))
        for job, future in list(self._preparing):
            if job.cancelled and future.cancel():
                self._preparing.remove((job, future))
                self._inbox.end(job, Failed(ShuttingDown()))
        for narration in [n for n in self._narrations if n.job.cancelled]:
            if narration.speaking:
                self._release(narration.speaking)
            self._narrations.remove(narration)
            self._inbox.end(narration.job, Failed(ShuttingDown()))

    def _fail_all(self) -> None:
        """After a failure of the model nothing in its memory is trusted: the next turn loads it anew."""
        for job, future in self._preparing:
            future.cancel()
            self._inbox.end(job, Failed(InternalError()))
        self._preparing.clear()
        for narration in self._narrations:
            self._inbox.end(narration.job, Failed(InternalError()))
        self._narrations.clear()
        self._unload()
