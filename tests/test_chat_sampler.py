"""Each sampler of llama-server does what it is for, on the real bundled model."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import openai
import pytest

from engine_room.catalogue import Catalogue
from engine_room.chat.format import sampling_of
from engine_room.chat.grammar import Constraints, Grammar, gbnf_grammar
from engine_room.chat.llama import LlamaModel, Slice
from engine_room.chat.options import ModelOptions
from engine_room.chat.turn import Sampling
from engine_room.errors import InvalidRequest
from engine_room.schemas_chat import SamplingFields
from engine_room.settings import Settings

GREEDY = Sampling(0, 0.95, 40, 0.05, 1.0, 0, 0, -1)
RANDOM = replace(GREEDY, temperature=1.0, seed=7)
ANYTHING = replace(RANDOM, top_k=0, top_p=1.0, min_p=0.0)
REFRAIN = (
    "The sun is red. The sky is blue. The sun is red. The sky is blue. The sun is red. The sky"
)
AGAIN = " is blue. The sun is red. The sky is blue"
TALE = "Once upon a time"


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    path = Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path
    model = LlamaModel(path, ModelOptions(context_tokens=512))
    yield model
    model.close()


@pytest.fixture(scope="module")
def constraints(model: LlamaModel) -> Constraints:
    return Constraints(model)


def decoded(model: LlamaModel, prompt: str) -> int:
    """Where the logits after a prompt are."""
    model.forget(0)
    tokens = model.tokenize(prompt)
    assert model.decode([Slice(0, 0, tokens, wants_logits=True)])
    return len(tokens) - 1


def continued(model: LlamaModel, prompt: str, sampling: Sampling, num_tokens: int) -> list[int]:
    """The next tokens after a prompt."""
    model.forget(0)
    tokens = model.tokenize(prompt)
    sampler = model.sampler(sampling, prompt=tokens)
    position = 0
    drawn: list[int] = []
    for _ in range(num_tokens):
        assert model.decode([Slice(0, position, tokens, wants_logits=True)])
        position += len(tokens)
        tokens = [sampler.sample(len(tokens) - 1)]
        drawn += tokens
    sampler.close()
    return drawn


def text(model: LlamaModel, prompt: str, sampling: Sampling, num_tokens: int = 12) -> str:
    """What the model says after a prompt."""
    tokens = continued(model, prompt, sampling, num_tokens)
    return b"".join(map(model.piece, tokens)).decode("utf-8", "replace")


def first(model: LlamaModel, prompt: str, sampling: Sampling, num_draws: int) -> Counter[int]:
    """The tokens that come first after a prompt, by as many seeds."""
    index = decoded(model, prompt)
    found: Counter[int] = Counter()
    for seed in range(num_draws):
        sampler = model.sampler(replace(sampling, seed=seed))
        found[sampler.sample(index)] += 1
        sampler.close()
    return found


def test_the_same_seed_gives_the_same_tokens_and_another_one_others(model: LlamaModel) -> None:
    first = continued(model, "Once upon a time", RANDOM, 12)
    assert continued(model, "Once upon a time", RANDOM, 12) == first
    assert continued(model, "Once upon a time", replace(RANDOM, seed=8), 12) != first


def test_without_a_seed_every_answer_is_another(model: LlamaModel) -> None:
    anyhow = replace(RANDOM, seed=-1, temperature=2.0, top_k=0, top_p=1, min_p=0)
    answers = {tuple(continued(model, "Once upon a time", anyhow, 8)) for _ in range(3)}
    assert len(answers) == 3


def test_a_seed_larger_than_32_bits_is_a_seed_like_any_other(model: LlamaModel) -> None:
    sampling = replace(RANDOM, seed=2**70 + 7)
    assert continued(model, "Once", sampling, 3) == continued(model, "Once", sampling, 3)


def test_top_k_of_one_leaves_only_the_likeliest(model: LlamaModel) -> None:
    narrow = replace(RANDOM, top_k=1, temperature=100)
    assert continued(model, "One two three", narrow, 5) == continued(
        model, "One two three", GREEDY, 5
    )


def test_penalties_end_a_repetition(model: LlamaModel) -> None:
    prompt = "ha ha ha ha ha ha ha ha ha"
    plain = continued(model, prompt, GREEDY, 12)
    punished = continued(model, prompt, replace(GREEDY, frequency_penalty=2.0), 12)
    assert len(set(plain)) < len(set(punished))


@pytest.mark.parametrize("temperature", [1e-40, 1e-9])
def test_next_to_no_temperature_is_none(model: LlamaModel, temperature: float) -> None:
    cold = replace(RANDOM, temperature=temperature)
    assert text(model, TALE, cold) == text(model, TALE, GREEDY)


def test_the_likeliest_goes_on_with_a_refrain_that_penalties_and_dry_end(
    model: LlamaModel,
) -> None:
    assert text(model, REFRAIN, GREEDY) == AGAIN
    for ending in (
        replace(GREEDY, dry_multiplier=2.0),
        replace(GREEDY, repeat_penalty=1.8),
        replace(GREEDY, presence_penalty=2.0),
        replace(GREEDY, frequency_penalty=2.0),
    ):
        assert text(model, REFRAIN, ending) != AGAIN


@pytest.mark.parametrize(
    "fields",
    [
        {"repeat_penalty": 1.8, "repeat_last_n": 0},
        {"repeat_penalty": 1.8, "repeat_last_n": 1},
        {"dry_multiplier": 2.0, "dry_penalty_last_n": 0},
        {"dry_multiplier": 2.0, "dry_penalty_last_n": 4},
        {"dry_multiplier": 2.0, "dry_allowed_length": 100},
        {"dry_multiplier": 2.0, "dry_sequence_breakers": (" is", ".")},
    ],
)
def test_a_refrain_further_back_than_they_look_goes_on(
    model: LlamaModel, fields: dict[str, Any]
) -> None:
    assert text(model, REFRAIN, replace(GREEDY, **fields)) == AGAIN


def test_the_prompt_counts_as_said(model: LlamaModel) -> None:
    """Without its tokens the samplers see nothing to repeat."""
    index = decoded(model, REFRAIN)
    for said, expected in ((model.tokenize(REFRAIN), " has"), ([], " is")):
        sampler = model.sampler(replace(GREEDY, dry_multiplier=2.0), prompt=said)
        assert model.piece(sampler.sample(index)).decode() == expected
        sampler.close()


def test_more_kinds_of_dry_than_are_kept_all_work(model: LlamaModel) -> None:
    index = decoded(model, REFRAIN)
    prompt = model.tokenize(REFRAIN)
    for _ in range(2):
        for number in range(10):
            kind = replace(GREEDY, dry_multiplier=2.0, dry_base=1.5 + number)
            sampler = model.sampler(kind, prompt=prompt)
            assert model.piece(sampler.sample(index)) == b" has"
            sampler.close()


def test_a_tiny_top_n_sigma_leaves_only_the_likeliest(model: LlamaModel) -> None:
    assert text(model, TALE, replace(ANYTHING, top_n_sigma=1e-3)) == text(model, TALE, GREEDY)


def test_xtc_takes_out_the_likeliest_where_several_are_likely(model: LlamaModel) -> None:
    prompt = "I like"
    logits = model.logits(decoded(model, prompt))
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    likely = np.flatnonzero(chances > 0.02)
    assert len(likely) > 1
    least = int(likely[np.argmin(chances[likely])])
    cut = replace(ANYTHING, xtc_probability=1.0, xtc_threshold=0.02)
    drawn = first(model, prompt, cut, 200)
    assert least in drawn
    assert not (set(likely.tolist()) - {least}) & set(drawn)
    assert continued(model, prompt, replace(cut, temperature=0), 1) == [least]


def test_xtc_leaves_a_token_that_stands_alone(model: LlamaModel) -> None:
    alone = replace(GREEDY, xtc_probability=1.0, xtc_threshold=0.5)
    assert text(model, REFRAIN, alone) == AGAIN


def test_typical_p_takes_out_what_says_too_little_or_too_much(model: LlamaModel) -> None:
    tokens = first(model, TALE, replace(ANYTHING, typical_p=0.2), 50)
    assert len(tokens) < len(first(model, TALE, ANYTHING, 50))
    assert len(first(model, TALE, replace(ANYTHING, typical_p=0.0), 5)) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_draws_in_its_own_way_and_the_same_seed_the_same(
    model: LlamaModel, version: int
) -> None:
    mirostat = replace(RANDOM, mirostat=version)
    said = text(model, TALE, mirostat)
    assert text(model, TALE, mirostat) == said
    assert text(model, TALE, replace(mirostat, seed=8)) != said
    assert said != text(model, TALE, RANDOM)


def test_mirostat_without_surprises_says_what_is_likeliest(model: LlamaModel) -> None:
    calm = replace(RANDOM, mirostat=2, mirostat_tau=0.0)
    assert text(model, TALE, calm) == text(model, TALE, GREEDY)


@pytest.mark.parametrize("sampling", [GREEDY, RANDOM, replace(RANDOM, mirostat=2)])
def test_a_bias_bans_a_token_or_forces_it(model: LlamaModel, sampling: Sampling) -> None:
    [london], [paris] = model.tokenize(" London"), model.tokenize(" Paris")
    question = "The capital of France is"
    forced = replace(sampling, logit_bias=((london, 100.0),))
    assert continued(model, question, forced, 3) == [london] * 3
    banned = replace(sampling, logit_bias=((paris, -100.0),))
    assert continued(model, question, GREEDY, 1) == [paris]
    assert paris not in continued(model, question, banned, 3)


def test_a_bias_on_a_token_that_the_model_does_not_have_is_refused(model: LlamaModel) -> None:
    with pytest.raises(InvalidRequest, match="token 49152, but this model's tokens are 0 to 49151"):
        model.sampler(replace(GREEDY, logit_bias=((5, 1.0), (49152, 1.0))))


# ---------------------------------------------------------------- constrained


def constrained(
    model: LlamaModel, constraints: Constraints, grammar: Grammar, sampling: Sampling, index: int
) -> int:
    """The first token that a grammar lets this sampling draw."""
    sampler = model.sampler(sampling, constraints.over(grammar))
    token = sampler.sample(index)
    sampler.close()
    return token


def test_a_constrained_draw_has_the_chances_of_the_allowed_tokens(
    model: LlamaModel, constraints: Constraints
) -> None:
    grammar = gbnf_grammar('root ::= " Paris" | " the" | " a" | " located" | " one"', "grammar")
    index = decoded(model, "The capital of France is")
    logits = model.logits(index).copy()
    allowed = constraints.over(grammar).allowed(len(logits))
    expected = np.exp(logits[allowed] - logits[allowed].max())
    expected /= expected.sum()
    num_draws = 400
    # Warm enough that most draws fall on a token that is not allowed.
    drawn = Counter(
        constrained(model, constraints, grammar, replace(ANYTHING, seed=seed), index)
        for seed in range(num_draws)
    )
    assert set(drawn) <= set(allowed.tolist())
    for token, chance in zip(allowed.tolist(), expected.tolist(), strict=True):
        spread = math.sqrt(num_draws * chance * (1 - chance))
        assert abs(drawn[token] - num_draws * chance) <= 4 * spread + 2
    assert np.array_equal(model.logits(index), logits)  # nothing is masked in place


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.0},
        {"xtc_probability": 1.0, "xtc_threshold": 0.0},
        {"typical_p": 0.1},
        {"mirostat": 1},
        {"mirostat": 2},
        {"dry_multiplier": 100.0, "repeat_penalty": 10.0},
        {"logit_bias": ((0, 100.0), (260, 100.0))},
    ],
)
def test_only_what_is_allowed_is_drawn_however_it_is_drawn(
    model: LlamaModel, constraints: Constraints, fields: dict[str, Any]
) -> None:
    grammar = gbnf_grammar('root ::= "yes" | "no"', "grammar")
    index = decoded(model, TALE)
    for seed in range(30):
        sampling = replace(ANYTHING, seed=seed, **fields)
        token = constrained(model, constraints, grammar, sampling, index)
        assert model.piece(token) in (b"y", b"ye", b"yes", b"n", b"no")


def test_a_grammar_that_allows_the_likeliest_changes_nothing(
    model: LlamaModel, constraints: Constraints
) -> None:
    anything = gbnf_grammar("root ::= [a-zA-Z ,.]*", "grammar")
    index = decoded(model, TALE)
    token = constrained(model, constraints, anything, GREEDY, index)
    assert token == int(model.logits(index).argmax())


EXTREMES: dict[str, list[Any]] = {
    "temperature": [0, 1e-30, 1e-6, 0.8, 100],
    "top_p": [0, 1e-30, 1],
    "top_k": [-1, 1, 40, 2**31 - 1],
    "min_p": [0, 1e-30, 1],
    "typical_p": [0, 1e-30, 0.3, 1],
    "top_n_sigma": [-1, 0, 1e-30, 1000],
    "repeat_penalty": [0.01, 1, 10],
    "repeat_last_n": [-1, 0, 1, 2**31 - 1],
    "presence_penalty": [-2, 0, 2],
    "frequency_penalty": [-2, 0, 2],
    "dry_multiplier": [0, 1e-30, 100],
    "dry_base": [1, 100],
    "dry_allowed_length": [0, 1, 2**31 - 1],
    "dry_penalty_last_n": [-1, 1, 2**31 - 1],
    "dry_sequence_breakers": [[], ["the", "é"]],
    "xtc_probability": [0, 1],
    "xtc_threshold": [0, 1e-30, 1],
    "mirostat": [0, 0, 0, 1, 2],
    "mirostat_tau": [0, 1e-30, 100],
    "mirostat_eta": [0, 10],
    "logit_bias": [{}, {"260": 100, "3": -100}, {str(token): -100 for token in range(1000)}],
    "seed": [-1, 0, 2**70],
}


def test_extreme_values_together_draw_a_token_like_any_others(
    model: LlamaModel, constraints: Constraints
) -> None:
    choose = random.Random(1)
    index = decoded(model, REFRAIN)
    prompt = model.tokenize(REFRAIN)
    free_form = constraints.over(gbnf_grammar("root ::= [a-z ]*", "grammar"))
    for number in range(60):
        fields = {name: choose.choice(values) for name, values in EXTREMES.items()}
        sampling = sampling_of(SamplingFields.model_validate(fields))
        sampler = model.sampler(sampling, free_form.copy() if number % 2 else None, prompt)
        assert all(0 <= sampler.sample(index) < 49152 for _ in range(3)), fields
        sampler.close()


def test_every_field_has_its_extremes_here() -> None:
    assert set(EXTREMES) == set(SamplingFields.model_fields) - {"repetition_penalty"}


# ---------------------------------------------------------------- on the wire


def answer(client: openai.OpenAI, **fields: Any) -> str | None:
    """What the server says at temperature 0 or as the fields have it."""
    own = {key: fields.pop(key) for key in list(fields) if key not in ("logit_bias", "seed")}
    whole = client.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "Say the same word again and again: ha ha ha ha"}],
        max_tokens=24,
        extra_body={"temperature": 0, **own},
        **fields,
    )
    content: str | None = whole.choices[0].message.content
    return content


@pytest.mark.parametrize(
    "fields",
    [
        {"dry_multiplier": 3.0, "dry_allowed_length": 1},
        {"repeat_penalty": 1.5, "repeat_last_n": -1},
        {"xtc_probability": 1, "xtc_threshold": 0.02},
        {"typical": 0.05},
        {"mirostat": 2, "mirostat_tau": 9, "temperature": 1, "seed": 3},
        {"logit_bias": {"28": -100, "260": 100}},
    ],
)
def test_a_field_of_the_request_changes_the_answer(
    client: openai.OpenAI, fields: dict[str, Any]
) -> None:
    assert answer(client, **fields) != answer(client)


def test_fields_that_leave_only_the_likeliest_change_nothing(client: openai.OpenAI) -> None:
    narrow = {"temperature": 1, "top_n_sigma": 1e-3, "xtc_threshold": 0.6, "xtc_probability": 1}
    assert answer(client, **narrow) == answer(client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_bias_on_an_unknown_token_is_a_400_that_names_it(
    client: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match="logit_bias names token 999999") as caught:
        client.chat.completions.create(
            model="gpt-4",
            messages=[{"role": "user", "content": "Hi"}],
            logit_bias={"999999": 1},
            stream=stream,
        )
    assert caught.value.param == "logit_bias"
