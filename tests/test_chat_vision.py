"""Chat models that see, tiny but real: where an image lies in a conversation, what is known of it the next
time, and every way in which it cannot be seen."""

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from llama_cpp import mtmd_cpp
from numpy.typing import NDArray

from engine_room.catalogue import ChatFile
from engine_room.chat.embedded import Embedded
from engine_room.chat.engine import Chat
from engine_room.chat.format import turn_from
from engine_room.chat.images import image_of
from engine_room.chat.llama import LlamaModel, Slice
from engine_room.chat.options import ModelOptions
from engine_room.chat.preparation import Preparation, Prepared
from engine_room.chat.turn import ChatResult, ChatTurn, Text
from engine_room.cores import Cores
from engine_room.errors import (
    ContextLengthExceeded,
    InvalidImage,
    InvalidRequest,
    ShuttingDown,
    Unavailable,
)
from engine_room.jobs import Engine
from engine_room.schemas_chat import ChatRequest
from engine_room.settings import Settings
from tests.pictures import data_url, encoded, noise, picture
from tests.test_chat import Asked, endings, running, text_of
from tests.vision_models import Kind, write_model, write_pair, write_projector

KINDS: tuple[Kind, ...] = ("llava", "gemma", "qwen")
SETTINGS = Settings(_env_file=None, chat_context_tokens=256, chat_threads=1, chat_cache_mb=100)
MARKER = "<__media__>"
# What one image of 70 x 50 takes, with the tokens around it.
SIZES = {"llava": 36, "gemma": 11, "qwen": 14}


@pytest.fixture(scope="module", params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChatFile:
    return ChatFile("seer", *write_pair(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> ChatFile:
    return ChatFile("seer", *write_pair(tmp_path_factory.mktemp("seer"), "llava"))


def kind_of(file: ChatFile) -> str:
    return next(kind for kind in KINDS if file.path.parent.name.startswith(kind))


@pytest.fixture
def engine(file: ChatFile) -> Iterator[Engine[ChatTurn]]:
    with running(Chat(file, SETTINGS)) as engine:
        yield engine


@pytest.fixture
def seer(llava: ChatFile) -> Iterator[Engine[ChatTurn]]:
    with running(Chat(llava, SETTINGS)) as engine:
        yield engine


def said(*parts: str | int, role: str = "user") -> dict[str, Any]:
    """A message: numbers are pictures."""
    content = [
        picture(part) if isinstance(part, int) else {"type": "text", "text": part} for part in parts
    ]
    return {"role": role, "content": content}


def turn(file: ChatFile, *messages: dict[str, Any], **fields: Any) -> ChatTurn:
    body = {"messages": list(messages), "temperature": 0, "max_tokens": 1, **fields}
    return turn_from(ChatRequest.model_validate(body), file)


def likeliest(engine: Engine[ChatTurn], asked: ChatTurn) -> tuple[list[float], ChatResult]:
    """How likely the 20 likeliest first tokens of the answer are, and the result."""
    items, result = Asked(engine, asked).answer()
    first = next(item for item in items if isinstance(item, Text) and item.logprobs)
    return [each.logprob for each in first.logprobs[0].top], result


class Reference:
    """The library's own way to read a prompt with images, in a context of its own."""

    def __init__(self, file: ChatFile) -> None:
        self._model = llama_cpp.llama_model_load_from_file(
            str(file.path).encode(), llama_cpp.llama_model_default_params()
        )
        params = mtmd_cpp.mtmd_context_params_default()
        params.n_threads, params.warmup = 1, False
        self._eyes = mtmd_cpp.mtmd_init_from_file(str(file.mmproj).encode(), self._model, params)

    def logprobs(self, prompt: str, seeds: list[int]) -> NDArray[np.float64]:
        """Of every token, after a prompt with pictures at its markers."""
        text = prompt.encode()
        bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * len(seeds))(*map(self._bitmap, seeds))
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        given = mtmd_cpp.mtmd_input_text(text, len(text), True, True)
        args = (self._eyes, chunks, ctypes.byref(given), bitmaps, len(seeds))
        assert mtmd_cpp.mtmd_tokenize(*args) == 0
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = 1
        context = llama_cpp.llama_init_from_model(self._model, params)
        end = llama_cpp.llama_pos(0)
        place = (0, 0, 512, True, ctypes.byref(end))
        assert mtmd_cpp.mtmd_helper_eval_chunks(self._eyes, context, chunks, *place) == 0
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        size = llama_cpp.llama_vocab_n_tokens(vocab)
        pointer = llama_cpp.llama_get_logits_ith(context, -1)
        logits: NDArray[np.float64] = np.ctypeslib.as_array(pointer, (size,)).astype(np.float64)
        llama_cpp.llama_free(context)
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps:
            mtmd_cpp.mtmd_bitmap_free(bitmap)
        logits -= logits.max()
        return logits - float(np.log(np.exp(logits).sum()))

    def _bitmap(self, seed: int) -> Any:
        rgb = noise(seed)
        data = rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        return mtmd_cpp.mtmd_bitmap_init(rgb.shape[1], rgb.shape[0], data)

    def close(self) -> None:
        mtmd_cpp.mtmd_free(self._eyes)
        llama_cpp.llama_model_free(self._model)


@pytest.fixture(scope="module")
def reference(file: ChatFile) -> Iterator[Reference]:
    made = Reference(file)
    yield made
    made.close()


def user(*parts: str | int) -> str:
    content = "".join(MARKER if isinstance(part, int) else part for part in parts)
    return f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def check_same(found: list[float], expected: NDArray[np.float64]) -> None:
    """The likeliest tokens are as likely as the library says."""
    assert np.abs(np.sort(expected)[:-21:-1] - found).max() < 0.005


CONVERSATIONS: list[tuple[str | int, ...]] = [
    ("What is ", 1, " this?"),
    (1, "What is this?"),
    ("One ", 1, 2, " and another ", 3, "."),
]


LIKELIEST = {"logprobs": True, "top_logprobs": 20}


@pytest.mark.parametrize("parts", CONVERSATIONS)
def test_an_image_lies_where_the_library_itself_puts_it(
    file: ChatFile,
    engine: Engine[ChatTurn],
    reference: Reference,
    parts: tuple[str | int, ...],
) -> None:
    found, _ = likeliest(engine, turn(file, said(*parts), **LIKELIEST))
    seeds = [part for part in parts if isinstance(part, int)]
    check_same(found, reference.logprobs(user(*parts), seeds))
    with pytest.raises(AssertionError):  # and the test would notice another image
        check_same(found, reference.logprobs(user(*parts), [*seeds[1:], 99]))


def test_an_image_of_the_turn_before_is_known_and_another_one_is_not(
    file: ChatFile, engine: Engine[ChatTurn], reference: Reference
) -> None:
    begun = [said("Look: ", 1, " Well?"), {"role": "assistant", "content": "Yes."}]
    _, first = likeliest(engine, turn(file, begun[0], **LIKELIEST))
    prompt = user("Look: ", 1, " Well?") + f"Yes.<|im_end|>\n{user('And ', 2, '?')}"
    found, then = likeliest(engine, turn(file, *begun, said("And ", 2, "?"), **LIKELIEST))
    assert (first.num_cached_tokens, then.num_cached_tokens) == (0, first.num_prompt_tokens)
    check_same(found, reference.logprobs(prompt, [1, 2]))
    found, other = likeliest(engine, turn(file, said("Look: ", 3, " Well?"), **LIKELIEST))
    # BOS, <|im_start|>, the bytes of "user\nLook:", and a space, which takes three.
    num_text_tokens = 2 + len("user\nLook:") + 3
    num_around = 0 if kind_of(file) == "llava" else 1
    assert other.num_cached_tokens == num_text_tokens + num_around
    check_same(found, reference.logprobs(user("Look: ", 3, " Well?"), [3]))


def test_an_image_that_was_moved_to_ram_and_back_lies_where_it_lay(
    file: ChatFile, engine: Engine[ChatTurn], reference: Reference
) -> None:
    asked = turn(file, said("Look: ", 1, " Well?"), **LIKELIEST)
    _, first = likeliest(engine, asked)
    Asked(engine, turn(file, said("x"), seed=1)).text()  # a seed moves all others out
    found, again = likeliest(engine, turn(file, said("Look: ", 1, " Well, well?"), **LIKELIEST))
    assert again.num_cached_tokens > first.num_prompt_tokens - 40
    check_same(found, reference.logprobs(user("Look: ", 1, " Well, well?"), [1]))


def test_the_usage_counts_an_images_tokens(file: ChatFile, engine: Engine[ChatTurn]) -> None:
    plain = Asked(engine, turn(file, said("ab"))).answer()[1].num_prompt_tokens
    seen = Asked(engine, turn(file, said("a", 1, 2, "b"))).answer()[1].num_prompt_tokens
    assert seen - plain == 2 * SIZES[kind_of(file)]


def test_images_that_do_not_fit_the_context_are_refused_and_counted(
    llava: ChatFile, seer: Engine[ChatTurn]
) -> None:
    error = Asked(seer, turn(llava, said("x", *range(7)))).error()
    assert isinstance(error, ContextLengthExceeded)
    assert "a prompt of 273 tokens (the images take 252 of them)" in error.message
    assert "holds 256 tokens" in error.message


def test_a_seed_gives_the_same_answer_alone_and_among_others(
    file: ChatFile, engine: Engine[ChatTurn]
) -> None:
    fields = {"seed": 7, "temperature": 1, "max_tokens": 24}
    asked = turn(file, said("See ", 1, 2, "?"), **fields)
    alone = Asked(engine, asked).text()
    others = [turn(file, said("Me ", n, "?"), max_tokens=40) for n in (3, 4)]
    others += [turn(file, said("Hello there"), max_tokens=60)]
    running_now = [Asked(engine, other) for other in others]
    again = Asked(engine, asked)
    assert again.text() == alone
    for other in running_now:
        assert endings(other.answer()[0])


def test_an_image_may_be_decoded_in_parts_and_several_answers_see_it(
    llava: ChatFile, seer: Engine[ChatTurn]
) -> None:
    assert llava.mmproj
    model = LlamaModel(llava.path, ModelOptions(context_tokens=256), llava.mmproj)
    prepared = Preparation(model).of(turn(llava, said("See ", 1, "?")))
    assert isinstance(prepared, Prepared)
    [(begin, image)] = prepared.images.items()
    [tokens] = prepared.prompts
    end = begin + len(image.ids)
    drawn = []
    for cuts in ((0, 36), (0, 5, 20, 36)):
        model.forget(0)
        assert model.decode([Slice(0, 0, tokens[:begin], wants_logits=False)])
        for start, stop in pairwise(cuts):
            assert model.decode_image(0, begin, image, start, stop - start)
        assert model.decode([Slice(0, end, tokens[end:], wants_logits=True)])
        drawn.append(model.logits(len(tokens) - end - 1).copy())
    model.close()
    assert np.abs(drawn[0] - drawn[1]).max() < 0.01
    items, _ = Asked(seer, turn(llava, said("See ", 1, "?"), n=2, max_tokens=8)).answer()
    assert text_of(items, 0) == text_of(items, 1)


def test_an_image_is_encoded_once_while_it_is_remembered(llava: ChatFile) -> None:
    assert llava.mmproj
    model = LlamaModel(llava.path, ModelOptions(context_tokens=256), llava.mmproj)
    assert model.vision
    image, other = (image_of(data_url(encoded(noise(seed))), "x") for seed in (1, 2))
    counts: list[int] = []
    first, twin, second = model.vision.seen([image, image, other], counts.append)
    [again] = model.vision.seen([image], counts.append)
    model.close()
    assert counts == [108, 36]
    assert again[0] is first[0] is twin[0]
    assert isinstance(first[0], Embedded)
    assert isinstance(second[0], Embedded)
    assert first[0].ids != second[0].ids


def test_an_image_that_nobody_waits_for_is_left_in_the_middle_and_seen_whole_the_next_time(
    llava: ChatFile,
) -> None:
    def seen(model: LlamaModel, num_looks: int) -> tuple[list[Any], int]:
        """What an image becomes when somebody waits for so many looks, and how many there were."""
        looks: list[None] = []

        def is_cancelled() -> bool:
            looks.append(None)
            return len(looks) > num_looks

        assert model.vision
        try:
            return model.vision.seen([image], lambda _count: None, is_cancelled), len(looks)
        except ShuttingDown:
            return [], len(looks)

    image = image_of(data_url(encoded(noise(1))), "x")
    models = [
        LlamaModel(llava.path, ModelOptions(context_tokens=256), llava.mmproj) for _ in range(2)
    ]
    whole, num_whole = seen(models[0], 1000)
    assert seen(models[1], 0) == ([], 1)
    assert seen(models[1], 2) == ([], 4)  # before, and once while it is encoded; then it is over
    assert num_whole > 4
    again, _ = seen(models[1], 1000)
    assert np.array_equal(again[0][0].vectors, whole[0][0].vectors)
    for model in models:
        model.close()


def test_others_give_way_while_an_image_is_encoded(llava: ChatFile) -> None:
    cores, shares = Cores(8), []
    options = ModelOptions(context_tokens=256, num_threads=8)
    model = LlamaModel(llava.path, options, llava.mmproj, cores=cores)
    assert model.vision

    def look() -> bool:
        shares.append(cores.share("chat"))
        return False

    with cores.working("chat"):
        model.vision.seen([image_of(data_url(encoded(noise(1))), "x")], lambda _count: None, look)
        assert cores.share("chat") == 8
    model.close()
    assert (shares[0], 4 in shares, shares[-1]) == (8, True, 8)


def test_a_bad_image_fails_alone_and_text_goes_on(llava: ChatFile, seer: Engine[ChatTurn]) -> None:
    url = data_url(encoded(noise(1))[:200])
    part = {"type": "image_url", "image_url": {"url": url}}
    bad = Asked(seer, turn(llava, {"role": "user", "content": [part]}))
    good = Asked(seer, turn(llava, said("Hi"), max_tokens=4))
    error = bad.error()
    assert isinstance(error, InvalidImage)
    assert error.param == "messages[0].content"
    assert good.answer()


def test_text_that_looks_like_a_librarys_marker_is_text(
    llava: ChatFile, seer: Engine[ChatTurn]
) -> None:
    plain = Asked(seer, turn(llava, said(MARKER))).answer()[1]
    assert plain.num_prompt_tokens == 20 + len(MARKER)
    assert Asked(seer, turn(llava, said(MARKER, 1, "."))).answer()[1].num_prompt_tokens == (
        20 + len(MARKER) + 36 + 1
    )


def test_a_prompt_that_ends_with_an_image_is_refused(llava: ChatFile, tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.gguf", template="{{ messages[0].content }}")
    file = ChatFile("x", path, llava.mmproj)
    with running(Chat(file, SETTINGS)) as engine:
        error = Asked(engine, turn(file, said("x", 1))).error()
    assert isinstance(error, InvalidRequest)
    assert error.message == "The prompt ends with an image: add text."


def test_a_template_that_drops_an_image_is_an_error(llava: ChatFile, tmp_path: Path) -> None:
    path = write_model(tmp_path / "x.gguf", template="{{ messages[-1].content }} ok")
    file = ChatFile("x", path, llava.mmproj)
    with running(Chat(file, SETTINGS)) as engine:
        error = Asked(engine, turn(file, said("x", 1), said("y"))).error()
    assert "shows 0 of the 1 images" in error.message


def unusable(file: ChatFile) -> str:
    """Why the file's projector cannot be used; and text is answered all the same."""
    with running(Chat(file, SETTINGS)) as engine:
        error = Asked(engine, turn(file, said("x", 1, "?"))).error()
        assert Asked(engine, turn(file, said("x"), max_tokens=2)).answer()
    assert isinstance(error, Unavailable)
    return error.message


def test_a_projector_of_another_width_is_refused_with_both_widths(
    llava: ChatFile, tmp_path: Path
) -> None:
    wide = write_projector(tmp_path / "mmproj-wide.gguf", width=96)
    reason = unusable(ChatFile("seer", llava.path, wide))
    assert "mmproj-wide.gguf cannot be used" in reason
    assert "64" in reason
    assert "96" in reason


@pytest.mark.parametrize("kind", ["cut", "text", "chat", "gone"])
def test_a_file_that_is_no_projector_is_refused(llava: ChatFile, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mmproj-x.gguf"
    assert llava.mmproj
    contents = {
        "cut": llava.mmproj.read_bytes()[:60_000],
        "text": b"no GGUF",
        "chat": llava.path.read_bytes(),
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    assert "mmproj-x.gguf cannot be used" in unusable(ChatFile("seer", llava.path, path))
