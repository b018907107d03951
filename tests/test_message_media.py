"""Images and speech in the messages of a chat, through the real server with a tiny model that sees."""

import base64
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.conftest import Server, running_server
from tests.pictures import data_url, encoded, noise, picture
from tests.vision_models import write_model, write_pair

PLACE = "messages[0].content"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "models").mkdir()
    write_pair(folder / "models", "qwen", "seer")
    write_model(folder / "models" / "blind.gguf")
    with running_server(folder) as server:
        yield server


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def sound(data: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def ask(server: Server, *parts: dict[str, Any], model: str = "seer") -> Any:
    messages: list[Any] = [{"role": "user", "content": parts}]
    return server.client().chat.completions.create(
        model=model, messages=messages, max_tokens=4, seed=1
    )


def test_the_official_client_sends_images_and_the_usage_counts_them(server: Server) -> None:
    plain = ask(server, text("What is this?"))
    seen = ask(server, text("What is this?"), picture(1), picture(2))
    assert seen.usage.prompt_tokens == plain.usage.prompt_tokens + 28
    assert seen.choices[0].finish_reason in ("length", "stop")


def test_a_conversation_that_goes_on_does_not_see_its_images_anew(server: Server) -> None:
    client = server.client()
    messages: list[Any] = [{"role": "user", "content": [picture(3), text("And this?")]}]
    first = client.chat.completions.create(model="seer", messages=messages, max_tokens=4)
    messages += [{"role": "assistant", "content": "."}, {"role": "user", "content": "Sure?"}]
    stream = client.chat.completions.create(
        model="seer",
        messages=messages,
        max_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    )
    usage = list(stream)[-1].usage
    assert first.usage
    assert usage
    assert usage.prompt_tokens_details
    assert usage.prompt_tokens_details.cached_tokens == first.usage.prompt_tokens


PNG = encoded(noise(1))


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image(data_url(PNG[:300])), "invalid_image"),
        (image(data_url(b"no image")), "invalid_image"),
        (image("data:image/png;base64,%"), "invalid_image"),
        (image("data:image/png;base64,"), "invalid_image"),
        (image(data_url(encoded(noise(1, 2, 400)))), "invalid_image"),
        (image("http://example.com/a.png"), "unsupported_value"),
        (image("HTTPS://example.com/a.png"), "unsupported_value"),
        (image("file:///etc/passwd"), "unsupported_value"),
        ({"type": "image_url"}, "unsupported_value"),
        ({"type": "image_url", "image_url": None}, "unsupported_value"),
        ({"type": "image_url", "image_url": "x"}, "unsupported_value"),
        ({"type": "video_url"}, "unsupported_value"),
        ({"type": "input_audio"}, None),
        (sound("%"), "invalid_audio"),
        (sound("é"), "invalid_audio"),
        (sound(""), "invalid_audio"),
        (sound(base64.b64encode(PNG).decode()), "invalid_audio"),
    ],
)
def test_a_part_that_cannot_be_read_is_the_clients_error_at_its_place(
    server: Server, part: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, part, text("?"))
    assert (caught.value.param, caught.value.code) == (PLACE, code)
    assert "messages[0]" in caught.value.message


def test_a_model_without_a_projector_says_which_file_it_misses(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match=r"mmproj-blind\.gguf"):
        ask(server, picture(1), model="blind")


def test_an_image_has_no_tokens_to_list(server: Server) -> None:
    messages = [{"role": "user", "content": [picture(1), text("?")]}]
    with server.http() as http:
        answer = http.post("/v1/tokenize", json={"model": "seer", "messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == PLACE


def test_speech_in_a_message_is_read_as_what_was_said(server: Server) -> None:
    client = server.client()
    spoken = client.audio.speech.create(
        model="tts-1", voice="nova", input="The weather is nice today."
    ).content
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", spoken)).text
    assert "weather" in heard
    data = base64.b64encode(spoken).decode()
    written = ask(server, text("I said: "), text(heard.strip()), model="blind")
    for form in (data, f"data:audio/mp3;base64,{data}"):  # the second time it is remembered
        said = ask(server, text("I said: "), sound(form), model="blind")
        assert said.usage.prompt_tokens == written.usage.prompt_tokens
        assert said.choices[0].message.content == written.choices[0].message.content
