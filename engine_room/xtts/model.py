"""An XTTS model in memory: its GPT, vocoder, voices and tokenizer, on the device there is.

On a CPU the GPT runs in llama.cpp and the vocoder in ONNX Runtime, from files converted once and kept beside
the user's own, or, where that cannot be written, among the server's; on a GPU both run in torch.
`conditioning` and `text_tokens` belong to one thread, `gpt` to another, `network` to those of `vocoders`.
"""

import ctypes
import gc
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine_room.clips import MAX_CLIPS, references
from engine_room.clones import ClonedVoice
from engine_room.errors import InvalidRequest, Unavailable, VoiceNotFound
from engine_room.folders import sha256_of
from engine_room.settings import Settings
from engine_room.xtts.conditioning import CONDITIONING, ConditioningCache
from engine_room.xtts.conversion import (
    GPT_FILE,
    VOCODER_FILE,
    MadeFrom,
    OnnxVocoder,
    is_made,
    make_in_one,
)
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.gpt import Conditioning, Gpt
from engine_room.xtts.studio import StudioVoice
from engine_room.xtts.vocoder import Network

log = logging.getLogger(__name__)
NUM_VOCODERS = 2  # on a CPU; a GPU is busy with one
NUM_VOICE_IDS = 4  # voices whose conditioning positions stay in the GPT
# Positions for one sentence: more than nearly all take, so that as many as may speak at once find room.
SENTENCE_POSITIONS = 640
Progress = Callable[[str], None]
# What Apple's MPS cannot compute, the CPU does. Read when torch loads, which is later.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


class XttsModel:
    """A model folder, ready to speak. Takes seconds, the first time, when parts are made for a CPU, half a
    minute; `progress` is told what is being done. Raises Unavailable."""

    def __init__(
        self, folder: XttsFolder, settings: Settings, num_threads: int, progress: Progress
    ) -> None:
        from engine_room.xtts.coqui import CoquiXtts, best_device, best_dtype

        started = time.perf_counter()
        self.folder = folder
        self.device = best_device(settings.xtts_device)
        on_cpu = self.device == "cpu"
        progress("its model is being loaded")
        dtype = best_dtype(settings.xtts_dtype, self.device)
        self._coqui = CoquiXtts(folder, self.device, with_gpt=not on_cpu, gpt_dtype=dtype)
        self.tables = self._coqui.tables()
        self.sampling = self._coqui.sampling
        self.stretches = self._coqui.stretches
        self.sample_rate_hz = self._coqui.sample_rate_hz
        self.speakers = self._coqui.speakers()
        sha256 = sha256_of(folder.checkpoint)
        self.num_voice_ids = NUM_VOICE_IDS
        # Two pieces of sound are made at once, with half the cores; the other half is the GPT's. On two
        # cores they share one: a GPT that is ahead leaves both to them.
        self.num_vocoder_threads = max(1, num_threads // 2 // NUM_VOCODERS)
        self.vocoders = ThreadPoolExecutor(NUM_VOCODERS if on_cpu else 1, "vocoder")
        num_sequences = settings.xtts_parallel + NUM_VOICE_IDS
        self.max_text_tokens = self._coqui.max_text_tokens
        # What all sentences that are spoken at once may take, and the longest of them.
        self.max_sentence_positions = self._coqui.shape.num_positions
        self.num_sentence_positions = max(
            self.max_sentence_positions, settings.xtts_parallel * SENTENCE_POSITIONS
        )
        voice_positions = NUM_VOICE_IDS * self._coqui.max_voice_positions
        num_positions = self.num_sentence_positions + voice_positions
        self.gpt: Gpt
        self.network: Network
        if on_cpu:
            source = MadeFrom(sha256, settings.xtts_gpt_type)
            places = folder.places_of_converted(settings.models_dir, sha256)
            converted = self._converted(source, places, progress)
            self._open_converted(converted, num_sequences, num_positions)
        else:
            self.gpt = self._coqui.torch_gpt(num_sequences, num_positions)
            self.network = self._coqui.vocode
        self._cache = ConditioningCache(
            settings.voice_clones_dir / CONDITIONING, sha256, self._computed
        )
        seconds = time.perf_counter() - started
        log.info("XTTS model %s loaded on %s in %.1f s", folder.id, self.device, seconds)

    def _converted(self, source: MadeFrom, places: Sequence[Path], progress: Progress) -> Path:
        """The one of the places where the converted parts are, made now if they are nowhere."""
        for place in places:
            if is_made(place, source):
                return place
        num_layers = self._coqui.num_layers

        def on_layer(layer: int) -> None:
            progress(
                f"its model is being converted for this CPU ({layer + 1} of {num_layers} layers)"
            )

        def write(partial: Path) -> None:
            self._coqui.write_gpt(partial / GPT_FILE, source.gpt_type, on_layer)
            progress("its vocoder is being converted for this CPU")
            self._coqui.write_vocoder(partial / VOCODER_FILE)

        log.info("converting %s for this CPU, this one time", self.folder.checkpoint)
        try:
            return make_in_one(places, source, write)
        except OSError as error:
            raise Unavailable(
                f"The XTTS model cannot be converted for this CPU, neither into {error}.",
                f"Make {places[0].parent} or {places[1].parent.parent} writable, with 0.6 GB free.",
            ) from error

    def _open_converted(self, converted: Path, num_sequences: int, num_positions: int) -> None:
        from engine_room.xtts.gpt_llama import LlamaGpt

        self._coqui.drop_heavy_parts()
        self.gpt = LlamaGpt(converted / GPT_FILE, num_sequences, num_positions)
        self.network = OnnxVocoder(converted / VOCODER_FILE, self.num_vocoder_threads)

    def check_speaks(self, language: str) -> None:
        """Raise InvalidRequest unless this model was trained on the language; fine-tuned ones have fewer."""
        if language not in self._coqui.languages:
            raise InvalidRequest(
                f"{self.folder.id} does not speak {language}; it speaks {', '.join(self._coqui.languages)}.",
                param="language",
                code="unsupported_language",
            )

    def conditioning(self, voice: ClonedVoice | StudioVoice) -> Conditioning:
        """What makes a voice. Raises VoiceNotFound, InvalidRequest, InvalidAudio."""
        if isinstance(voice, ClonedVoice):
            return self._cache.of(voice.paths[:MAX_CLIPS])
        if voice.id not in self.speakers:
            raise VoiceNotFound(voice.id, self.speakers)
        return self.speakers[voice.id]

    def _computed(self, clips: Sequence[Path]) -> Conditioning:
        return self._coqui.conditioning(references(clips))

    def text_tokens(self, text: str, language: str) -> list[int]:
        """The tokens of a piece of text."""
        return self._coqui.text_tokens(text, language)

    def close(self) -> None:
        """Free the memory; it is not to be used any more. Waits for sound that is being made."""
        self.vocoders.shutdown()
        self.gpt.close()
        self._coqui.close()
        del self.network
        _give_memory_back()


def _give_memory_back() -> None:
    """Return what was freed to the system: torch's modules go in cycles, and glibc keeps most of what it
    has for the next to ask (of a full-size model 0.4 to 1 GB stayed). Takes a quarter of a second."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
