"""The sequences that answer a job: one for each answer to each of its prompts."""

from collections.abc import Sequence as Listed
from dataclasses import replace
from typing import Protocol

import numpy as np

from engine_room.chat.grammar import Constraint
from engine_room.chat.preparation import Prepared
from engine_room.chat.sequence import Drawer, Sequence, Tally, num_shared_positions
from engine_room.chat.turn import GenerationTurn, ModelTurn, Sampling
from engine_room.jobs import Job


class Model(Protocol):
    """What makes samplers for its context."""

    num_context_tokens: int

    def sampler(
        self, sampling: Sampling, constraint: Constraint | None, prompt: Listed[int]
    ) -> Drawer:
        """A sampler for one answer to this prompt. Raises InvalidRequest."""


def sequences_of(job: Job[ModelTurn], prepared: Prepared, model: Model) -> list[Sequence]:
    """The sequences, none of them begun. Raises InvalidRequest."""
    turn = job.turn
    assert isinstance(turn, GenerationTurn)
    prompts = [np.array(tokens, np.int32) for tokens in prepared.prompts]
    num_answers = len(prompts) * turn.num_answers
    num_beside = num_shared_positions(prepared.images)
    tally = Tally(job, num_answers, sum(map(len, prompts)) + num_beside)
    sequences = []
    for index in range(num_answers):
        prompt_index = index // turn.num_answers
        prompt = prompts[prompt_index]
        room = model.num_context_tokens - len(prompt) - num_beside
        # A seed fixes all answers of a turn, not that they are the same.
        seed = turn.sampling.seed
        sampler = model.sampler(
            replace(turn.sampling, seed=seed + index if seed >= 0 else -1),
            prepared.constraint and prepared.constraint.copy(),
            prepared.prompts[prompt_index],
        )
        sequences.append(
            Sequence(
                tally=tally,
                index=index,
                prompt=prompt,
                prompt_index=prompt_index,
                images=prepared.images,
                max_tokens=room if turn.max_tokens is None else min(room, turn.max_tokens),
                sampler=sampler,
                reader=prepared.reader(index, turn.stop),
                marks=prepared.marks,
            )
        )
    return sequences
