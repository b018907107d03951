"""What SillyTavern's XTTS provider sets holds for what it has spoken from then on."""

import pytest
from pydantic import ValidationError

from engine_room.sillytavern import Provider, ProviderSettings, ProviderSpeech

TEXT = ProviderSpeech(text="Hi", speaker_wav="nova", language="en")
# As it sends them: what came from a slider is a text.
SLIDERS = {
    "temperature": "0.3",
    "speed": "1.5",
    "length_penalty": 1,
    "repetition_penalty": "2.5",
    "top_p": "0",
    "top_k": "20",
    "enable_text_splitting": True,
    "stream_chunk_size": "100",
}


def test_its_sliders_are_followed_until_they_are_set_anew() -> None:
    provider = Provider()
    provider.set(ProviderSettings.model_validate(SLIDERS))
    for stream in (False, True):
        body = provider.request(TEXT, stream)
        assert (body.temperature, body.top_k, body.top_p) == (0.3, 20, 0)
        assert (body.repetition_penalty, body.speed, body.stream) == (2.5, 1.5, stream)
    provider.set(ProviderSettings.model_validate({"temperature": 1}))
    body = provider.request(TEXT)
    assert (body.temperature, body.top_k, body.speed) == (1, None, 1)


def test_nothing_set_is_the_models_own() -> None:
    body = Provider().request(TEXT)
    assert (body.input, body.voice, body.language, body.response_format) == (
        "Hi",
        "nova",
        "en",
        "wav",
    )
    assert {body.temperature, body.top_k, body.top_p, body.repetition_penalty} == {None}


def test_the_answer_says_which_sliders_have_no_effect() -> None:
    followed, _, without_effect = Provider().set(ProviderSettings())["message"].partition(". ")
    for name in ("speed", "temperature", "top_k", "top_p", "repetition_penalty"):
        assert name in followed
    for name in ("length_penalty", "stream_chunk_size", "enable_text_splitting"):
        assert name in without_effect


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("top_k", 1.5),
        ("top_p", 2),
        ("repetition_penalty", 0),
        ("speed", 9),
    ],
)
def test_a_slider_out_of_range_is_refused_by_name_and_nothing_is_set(
    name: str, value: object
) -> None:
    with pytest.raises(ValidationError) as caught:
        ProviderSettings.model_validate(SLIDERS | {name: value})
    assert caught.value.errors()[0]["loc"] == (name,)
