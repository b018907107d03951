"""What is offered as the best that fits does fit, with its conversations."""

from pathlib import Path

import pytest

from engine_room.memory_fit import Free, best_that_fits, free_memory, need_of
from engine_room.offers import Offers
from engine_room.settings import Settings

OFFERS = Offers(Path("nowhere")).all()
SETTINGS = Settings(_env_file=None, chat_context_tokens=0, chat_kv_type="f16")
GB = 1_000_000_000


def best(free: float, settings: Settings = SETTINGS, on_gpu: float = 0) -> str | None:
    offer = best_that_fits(OFFERS, settings, Free(int(free), int(on_gpu)))
    return offer.id if offer else None


def test_the_more_memory_the_larger_the_model() -> None:
    assert best(1.2 * GB) is None
    assert best(2 * GB) == "qwen2.5-0.5b-instruct"
    assert best(6 * GB) == "qwen3-4b-instruct-2507"
    assert best(200 * GB) == "qwen3-30b-a3b-instruct-2507"


@pytest.mark.parametrize("free", [2 * GB, 4 * GB, 8 * GB, 16 * GB, 32 * GB])
def test_the_best_fits_with_two_conversations_and_a_reserve(free: int) -> None:
    offer = best_that_fits(OFFERS, SETTINGS, Free(free))
    assert offer
    conversations = 2 * 8192 * offer.kv_bytes
    assert offer.size_bytes + conversations + 1_000_000_000 <= free


def test_a_longer_context_leaves_room_for_a_smaller_model_only() -> None:
    long = Settings(_env_file=None, chat_context_tokens=32_768)
    assert best(6 * GB, long) == "qwen2.5-1.5b-instruct"
    halved = Settings(_env_file=None, chat_context_tokens=32_768, chat_kv_type="q4_0")
    assert best(6 * GB, halved) == "llama-3.2-3b-instruct"


def test_the_sum_is_told_in_words() -> None:
    offer = next(offer for offer in OFFERS if offer.id == "mistral-7b-instruct-v0.2")
    need = need_of(offer, SETTINGS, 4_368_439_584)
    assert need.said(Free(8 * GB)) == (
        "4.4 GB for the file + 2.1 GB for 2 conversations of 8,192 tokens + 1.0 GB reserve = 7.5 GB, of "
        "8.0 GB free"
    )


def test_what_fits_the_gpu_goes_before_what_only_the_machine_could_hold() -> None:
    assert best(200 * GB, on_gpu=6 * GB) == "qwen3-4b-instruct-2507"
    assert best(6 * GB, on_gpu=200 * GB) == "qwen3-30b-a3b-instruct-2507"
    assert best(6 * GB, on_gpu=1.2 * GB) == "qwen3-4b-instruct-2507"  # nothing fits that GPU
    offer = next(offer for offer in OFFERS if offer.id == "qwen3-8b")
    need = need_of(offer, SETTINGS)
    assert need.said(Free(4 * GB, 24 * GB)).endswith(", of 24.0 GB free on the GPU")
    assert [Free(4 * GB, gpu).holds(need) for gpu in (24 * GB, 2 * GB)] == [True, False]


def test_this_machine_has_memory_and_a_gpu_counts_only_where_it_is_used() -> None:
    assert free_memory(SETTINGS).ram_bytes > 10_000_000
    without = Settings(_env_file=None, chat_gpu_layers=0)
    assert free_memory(without).gpu_bytes == 0
