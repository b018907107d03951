"""The eyes of a chat model: its projector file on llama.cpp's mtmd, which makes vectors of images.

It is loaded when the first image comes. Images that were seen lately are remembered, so that a
conversation does not have them encoded again at each turn.
"""

import ctypes
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp
from numpy.typing import NDArray

from engine_room.chat.embedded import Embedded, ids_of
from engine_room.chat.images import Image, check_shape, pixels
from engine_room.chat.options import ModelOptions
from engine_room.cores import Cores
from engine_room.errors import InvalidImage, ShuttingDown, Unavailable
from engine_room.llama_library import batch_of, forget_reasons, reason

log = logging.getLogger(__name__)
# What an image becomes: tokens around it (and, of a large one, between its tiles), and the tiles.
Seen = tuple[list[int] | Embedded, ...]
# An image is about 1 to 20 MB of vectors.
MAX_KEPT_BYTES = 256_000_000
# So many steps of an encoder's few hundred are computed between two looks at whether anybody still waits.
STEPS_BETWEEN_LOOKS = 16


def _never() -> bool:
    return False


class Vision:
    """Sees for one llama_model. Any thread may use it; one image is seen at a time."""

    def __init__(
        self,
        path: Path,
        model: Any,
        options: ModelOptions,
        max_batch_tokens: int,
        cores: Cores | None = None,
    ) -> None:
        self._path = path
        self._model = model
        self._options = options
        self._max_batch_tokens = max_batch_tokens
        self._context: Any = None
        self._cores = cores or Cores()
        self._lock = threading.Lock()
        self._is_cancelled: Callable[[], bool] = _never
        self._num_steps = 0
        self._watch = llama_cpp.ggml_backend_sched_eval_callback(self._goes_on)
        self._kept: OrderedDict[bytes, Seen] = OrderedDict()

    def seen(
        self,
        images: Sequence[Image],
        check: Callable[[int], None],
        is_cancelled: Callable[[], bool] = _never,
    ) -> list[Seen]:
        """What each image becomes; before any is encoded, `check` is told how many tokens they are in all.
        Meanwhile `is_cancelled` is asked whether to stop. Raises what `check` raises, InvalidImage,
        Unavailable; ShuttingDown when it was stopped."""
        with self._lock, ExitStack() as cut:
            self._is_cancelled = is_cancelled
            self._stop_if_cancelled()
            self._load()
            known = [self._remembered(image) or self._cut(image, cut) for image in images]
            check(sum(map(num_tokens, known)))
            return [
                self._encoded(each, image) if isinstance(each, _Cut) else each
                for each, image in zip(known, images, strict=True)
            ]

    def _remembered(self, image: Image) -> Seen | None:
        if image.digest in self._kept:
            self._kept.move_to_end(image.digest)
        return self._kept.get(image.digest)

    def _cut(self, image: Image, until: ExitStack) -> "_Cut":
        """The image cut, and freed then."""
        cut = _Cut(self._context, image)
        until.callback(cut.free)
        return cut

    def _load(self) -> None:
        if self._context:
            return
        started = time.perf_counter()
        params = mtmd_cpp.mtmd_context_params_default()
        params.n_threads = self._options.num_threads
        params.use_gpu = self._options.num_gpu_layers != 0
        params.print_timings = params.warmup = False
        params.cb_eval = self._watch
        forget_reasons()
        context = mtmd_cpp.mtmd_init_from_file(str(self._path).encode(), self._model, params)
        if not context:
            raise self._unavailable(reason())
        if not mtmd_cpp.mtmd_support_vision(context):
            mtmd_cpp.mtmd_free(context)
            raise self._unavailable("it hears, and does not see")
        self._context = context
        log.info("projector %s loaded in %.1f s", self._path.name, time.perf_counter() - started)

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"The projector {self._path.name} cannot be used: {' '.join(why.split())}.",
            "Put the projector (mmproj) that was made for this very model in its place.",
        )

    def _encoded(self, cut: "_Cut", image: Image) -> Seen:
        """The image encoded, and remembered."""
        if known := self._remembered(image):  # it is twice in one request
            return known
        pieces: list[list[int] | Embedded] = []
        for chunk in cut.chunks():
            if mtmd_cpp.mtmd_input_chunk_get_type(chunk) == mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_TEXT:
                pieces.append(_tokens_of(chunk))
            else:
                pieces.append(self._embedded(chunk, image, len(pieces)))
        seen = self._kept[image.digest] = tuple(pieces)
        while len(self._kept) > 1 and sum(map(_num_bytes, self._kept.values())) > MAX_KEPT_BYTES:
            self._kept.popitem(last=False)
        return seen

    def _embedded(self, chunk: Any, image: Image, number: int) -> Embedded:
        count = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
        sees_ahead = bool(mtmd_cpp.mtmd_decode_use_non_causal(self._context, chunk))
        if sees_ahead and count > self._max_batch_tokens:
            raise InvalidImage(
                f"the image makes {count} tokens that see each other; {self._max_batch_tokens} are "
                "read at once.",
                image.place,
            )
        self._stop_if_cancelled()
        forget_reasons()
        # The library fixes how many threads it takes; so the others give way.
        with self._cores.working(f"images {self._path.name}", self._num_threads):
            code = mtmd_cpp.mtmd_encode_chunk(self._context, chunk)
        self._stop_if_cancelled()  # then it is half done, which the library does not say
        if code != 0:
            raise self._unavailable(reason())
        output = mtmd_cpp.mtmd_get_output_embd(self._context)
        width = llama_cpp.llama_model_n_embd_inp(self._model)
        return Embedded(
            ids_of(image.digest, number, mtmd_cpp.mtmd_input_chunk_get_n_pos(chunk)),
            np.ctypeslib.as_array(output, (count, width)).copy(),
            _grid_of(chunk, count) if mtmd_cpp.mtmd_decode_use_mrope(self._context) else None,
            sees_ahead,
        )

    def _goes_on(self, _step: Any, is_before: bool, _user_data: Any) -> bool:
        """Before a step: whether to be asked again after it; after it: whether to go on."""
        if not is_before:
            return not self._is_cancelled()
        self._num_steps += 1
        return self._num_steps % STEPS_BETWEEN_LOOKS == 0

    @property
    def _num_threads(self) -> int:
        """Those that compute; with a GPU one, which waits for it."""
        is_on_gpu = self._options.num_gpu_layers != 0 and llama_cpp.llama_supports_gpu_offload()
        return 1 if is_on_gpu else self._options.num_threads

    def _stop_if_cancelled(self) -> None:
        if self._is_cancelled():
            raise ShuttingDown

    def close(self) -> None:
        """Free the memory; nothing is to be seen any more."""
        if self._context:
            mtmd_cpp.mtmd_free(self._context)
            self._context = None


class _Cut:
    """An image cut, scaled, and counted for a projector, but not yet encoded. Raises InvalidImage."""

    def __init__(self, context: Any, image: Image) -> None:
        rgb = pixels(image)
        check_shape(rgb, image.place)
        height, width = rgb.shape[:2]
        data = rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = mtmd_cpp.mtmd_bitmap_init(width, height, data)
        part = mtmd_cpp.mtmd_input_part(bitmap=bitmap)
        parts = (ctypes.POINTER(mtmd_cpp.mtmd_input_part) * 1)(ctypes.pointer(part))
        self._chunks = mtmd_cpp.mtmd_input_chunks_init()
        code = mtmd_cpp.mtmd_tokenize_from_parts(context, self._chunks, parts, 1, False)
        mtmd_cpp.mtmd_bitmap_free(bitmap)
        if code != 0:
            self.free()
            raise InvalidImage(
                f"the model cannot see an image of {width} x {height} pixels.", image.place
            )

    def chunks(self) -> Iterator[Any]:
        """Its mtmd_input_chunks, valid until it is freed."""
        for index in range(mtmd_cpp.mtmd_input_chunks_size(self._chunks)):
            yield mtmd_cpp.mtmd_input_chunks_get(self._chunks, index)

    def free(self) -> None:
        """Free the memory."""
        mtmd_cpp.mtmd_input_chunks_free(self._chunks)


def num_tokens(seen: "Seen | _Cut") -> int:
    """What an image takes of the context."""
    if isinstance(seen, _Cut):
        return sum(mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk) for chunk in seen.chunks())
    return sum(each.num_tokens if isinstance(each, Embedded) else len(each) for each in seen)


def _num_bytes(seen: Seen) -> int:
    return sum(each.vectors.nbytes for each in seen if isinstance(each, Embedded))


def _tokens_of(chunk: Any) -> list[int]:
    count = ctypes.c_size_t()
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return [int(token) for token in tokens[: count.value]]


def _grid_of(chunk: Any, count: int) -> NDArray[np.int32]:
    """Where each token lies: in time, down, across, and a fourth number; and what of it moves along with
    the place of the image in the prompt."""
    image = mtmd_cpp.mtmd_input_chunk_get_tokens_image(chunk)
    grids = []
    for position in (0, 1):
        places = (mtmd_cpp.mtmd_decoder_pos * count)()
        mtmd_cpp.mtmd_helper_image_get_decoder_pos(image, position, places)
        grids.append(np.array([(p.t, p.y, p.x, p.z) for p in places], np.int32).T)
    return np.stack([grids[0], grids[1] - grids[0]])


def decode_embedded(
    context: Any, seq_id: int, position: int, embedded: Embedded, begin: int, count: int
) -> int:
    """Decode some tokens of an image that begins at a position of a sequence; llama_decode's code."""
    end = begin + count
    if embedded.grid is None:
        positions = np.arange(position + begin, position + end, dtype=np.int32)
    else:
        at_start, moves = embedded.grid[:, :, begin:end]
        positions = np.ascontiguousarray(at_start + position * moves)
    batch = batch_of(
        np.full(count, seq_id, np.int32),
        positions,
        np.zeros(count, np.int8),
        embeddings=np.ascontiguousarray(embedded.vectors[begin:end]),
    )
    if embedded.sees_ahead:
        llama_cpp.llama_set_causal_attn(context, False)
    try:
        return int(llama_cpp.llama_decode(context, batch))
    finally:
        if embedded.sees_ahead:
            llama_cpp.llama_set_causal_attn(context, True)
