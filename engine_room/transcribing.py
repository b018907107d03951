"""What the transcription engine is asked for a request, and in which form it answers."""

from collections import OrderedDict
from collections.abc import Sequence

from engine_room.errors import UnsupportedValue
from engine_room.schemas import ServerVad, TranscriptionRequest
from engine_room.transcription_format import FORMATS, TranscriptionAnswer
from engine_room.transcription_turn import SpeechFilter, Task, TranscriptionTurn
from engine_room.whisper_models import WhisperModels

MAX_TRANSCRIPTS = 1000
STREAMED_FORMATS: Sequence[str] = ("json", "text")


def transcription_turn(
    data: bytes, body: TranscriptionRequest, models: WhisperModels, task: Task
) -> TranscriptionTurn:
    """The turn for a request. Raises ModelNotFound, UnsupportedValue, Unavailable."""
    if body.response_format not in FORMATS:
        raise UnsupportedValue("response_format", body.response_format, FORMATS)
    vad = body.chunking_strategy
    return TranscriptionTurn(
        data=data,
        folder=models.find(body.model).path,
        language=body.language,
        languages=tuple(body.languages),
        task=task,
        prompt=body.prompt,
        hotwords=", ".join([*filter(None, [body.hotwords]), *body.keywords]),
        temperature=body.temperature,
        words="word" in body.timestamp_granularities or "logprobs" in body.include,
        speech_filter=_filter(vad) if isinstance(vad, ServerVad) else SpeechFilter(),
    )


def _filter(vad: ServerVad) -> SpeechFilter:
    return SpeechFilter(vad.threshold, vad.prefix_padding_ms, vad.silence_duration_ms)


def transcription_answer(body: TranscriptionRequest, task: Task) -> TranscriptionAnswer:
    """How a request wants to be answered."""
    logprobs = "logprobs" in body.include
    return TranscriptionAnswer(body.response_format, body.timestamp_granularities, logprobs, task)


def is_streamed(body: TranscriptionRequest) -> bool:
    """Subtitles and segments are told whole: `stream` is without effect there, as it is at OpenAI's."""
    return body.stream and body.response_format in STREAMED_FORMATS


class Transcripts:
    """What was said in the last sounds that came with a chat, by their SHA-256. Belongs to the event loop."""

    def __init__(self) -> None:
        self._texts: OrderedDict[bytes, str] = OrderedDict()

    def get(self, digest: bytes) -> str | None:
        """What was said, if it is known."""
        return self._texts.get(digest)

    def keep(self, digest: bytes, text: str) -> None:
        """Remember it, in place of the oldest."""
        self._texts[digest] = text
        if len(self._texts) > MAX_TRANSCRIPTS:
            self._texts.popitem(last=False)
