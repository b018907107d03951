"""Which chat models are in memory: with engines of thirty lines for the rules, then with the real ones."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat.engine import Chat
from engine_room.chat.loading import chat_engine
from engine_room.chat.memory import Memory, needed_bytes, with_room
from engine_room.chat.options import model_options
from engine_room.chat.resident import Loaded, Patience
from engine_room.chat.residents import Residents
from engine_room.chat.turn import LoadTurn, ModelTurn
from engine_room.errors import (
    ApiError,
    InternalError,
    LoadingStopped,
    ModelBusy,
    QueueFull,
    ShuttingDown,
    Unavailable,
)
from engine_room.jobs import Done, Event, Failed, Job, serially
from engine_room.jobs import Status as EngineStatus
from engine_room.settings import Settings
from tests import test_chat as chat

WAIT_S = 30
QUICK = Patience(min_stay_s=0.3, max_stay_s=0.3, min_pause_s=0.02, max_pause_s=0.02)


def file(name: str) -> ChatFile:
    return ChatFile(name, Path(f"{name}.gguf"))


class World:
    """Models that take ten bytes each (but `large`) of RAM, of which `room` are there; names that begin with
    "gpu" take them of the GPU, which has `gpu_room`. They answer when they may `go`."""

    def __init__(
        self,
        room: int = 20,
        keep_alive_s: float = math.inf,
        max_queued: int = 9,
        has_default: bool = True,
        gpu_room: int = 20,
    ) -> None:
        self.has_default = has_default
        self.loads: list[str] = []
        self.broken: set[str] = set()
        self.quick: set[str] = set()  # answer at once
        self.strange: set[str] = set()  # fail as nobody thought of
        self.slow: set[str] = set()  # load until they are stopped
        self.is_loading = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.residents = Residents(
            self.load,
            self.need_of,
            self.default,
            budget=lambda: Memory(room, gpu_room),
            keep_alive_s=keep_alive_s,
            max_queued=max_queued,
            patience=QUICK,
        )

    def default(self) -> ChatFile:
        if not self.has_default:
            raise Unavailable("there is none", "get one")
        return file("a")

    def need_of(self, file: ChatFile) -> Memory:
        if file.id == "unheard-of":
            raise KeyError(file.id)
        if file.id.startswith("gpu"):
            return Memory(2, 100 if file.id == "gpu-large" else 10)
        return Memory(100 if file.id == "large" else 10)

    def load(self, file: ChatFile, should_stop: Callable[[], bool]) -> Loaded:
        self.loads.append(file.id)
        self.is_loading.set()
        while file.id in self.slow:
            if should_stop():
                raise LoadingStopped("stopped")
            time.sleep(0.001)
        if file.id in self.strange:
            raise ZeroDivisionError("strange")
        if file.id in self.broken:
            raise Unavailable(f"{file.id} is broken", "mend it")
        return Loaded(serially(self.answer), self.need_of(file))

    def answer(self, job: Job[ModelTurn]) -> Iterator[Event]:
        yield "begun"
        assert job.turn.file.id in self.quick or self.go.wait(WAIT_S)
        yield Done(job.turn.file.id)


class Asked:
    """A turn for a model, and its events."""

    def __init__(self, world: World, file: ChatFile, keep_alive_s: float | None = None) -> None:
        self.has_begun, self.is_over = threading.Event(), threading.Event()
        self.last: Event = None
        turn = LoadTurn(file=file, keep_alive_s=keep_alive_s)
        self.job = world.residents.submit(turn, self._deliver)

    def _deliver(self, event: Event) -> None:
        self.last = event
        self.has_begun.set()
        if isinstance(event, Done | Failed):
            self.is_over.set()

    def result(self) -> object:
        assert self.is_over.wait(WAIT_S)
        assert isinstance(self.last, Done), self.last
        return self.last.result

    def error(self) -> ApiError:
        assert self.is_over.wait(WAIT_S)
        assert isinstance(self.last, Failed)
        return self.last.error


def answering(world: World, name: str) -> Asked:
    """A turn that has begun, and goes on until it may `go`."""
    world.go.clear()
    asked = Asked(world, file(name))
    assert asked.has_begun.wait(WAIT_S)
    return asked


def ask(world: World, name: str, keep_alive_s: float | None = None) -> object:
    return Asked(world, file(name), keep_alive_s).result()


@contextmanager
def opened(world: World) -> Iterator[World]:
    world.residents.open()
    yield world
    world.go.set()
    world.residents.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Room for two, of which `a`, the default, is there."""
    with opened(World()) as world:
        assert ask(world, "a") == "a"
        yield world


def until(is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def test_models_are_side_by_side_while_there_is_room(world: World) -> None:
    assert ask(world, "b") == "b"
    assert ask(world, "a") == "a"
    assert world.residents.states() == {"a": "loaded", "b": "loaded"}
    assert world.loads == ["a", "b"]


def test_the_one_longest_not_used_makes_room(world: World) -> None:
    for name in ("b", "a", "c"):
        ask(world, name)
    assert set(world.residents.states()) == {"a", "c"}
    ask(world, "b")
    assert set(world.residents.states()) == {"b", "c"}


def test_only_those_go_that_take_room_where_it_is_needed() -> None:
    with opened(World(room=30)) as world:
        for name in ("a", "b", "gpu-1", "gpu-2"):
            ask(world, name)
        assert set(world.residents.states()) == {"a", "b", "gpu-1", "gpu-2"}
        ask(world, "gpu-3")  # the GPU is full, and not the RAM
        assert set(world.residents.states()) == {"a", "b", "gpu-2", "gpu-3"}
        ask(world, "gpu-large")
        assert set(world.residents.states()) == {"a", "b", "gpu-large"}
        ask(world, "c")  # 2 + 3 * 10 of 30: the one longest not used that has RAM
        assert set(world.residents.states()) == {"b", "gpu-large", "c"}


def test_one_that_answers_never_makes_room(world: World) -> None:
    ask(world, "b")
    begun = [answering(world, name) for name in ("a", "b")]
    third = Asked(world, file("c"))
    time.sleep(2 * QUICK.max_stay_s)
    assert set(world.residents.states()) == {"a", "b"}
    assert world.residents.num_waiting == 1
    world.go.set()
    assert third.result() == "c"
    assert [asked.result() for asked in begun] == ["a", "b"]


def test_an_idle_one_makes_room_though_one_that_answers_was_asked_earlier(world: World) -> None:
    world.quick |= {"b", "c"}
    begun = answering(world, "a")
    ask(world, "b")
    assert ask(world, "c") == "c"
    assert set(world.residents.states()) == {"a", "c"}
    world.go.set()
    assert begun.result() == "a"


def test_two_clients_with_a_model_each_are_served_in_batches() -> None:
    with opened(World(room=10)) as world:

        def client(name: str) -> None:
            for _ in range(100):
                assert ask(world, name) == name

        clients = [threading.Thread(target=client, args=(name,)) for name in ("a", "b")]
        for each in clients:
            each.start()
        for each in clients:
            each.join(2 * WAIT_S)
        assert 2 <= len(world.loads) <= 20
        assert not any(each.is_alive() for each in clients)


def test_one_in_use_makes_room_after_its_stay_and_who_asks_it_then_waits_in_line() -> None:
    with opened(World(room=10)) as world:
        begun = answering(world, "a")
        other = Asked(world, file("b"))
        time.sleep(2 * QUICK.max_stay_s)
        late = Asked(world, file("a"))
        world.go.set()
        for asked, name in ((begun, "a"), (other, "b"), (late, "a")):
            assert asked.result() == name
        assert world.loads == ["a", "b", "a"]


def test_a_small_one_comes_at_once_though_a_large_one_waits_for_room(world: World) -> None:
    answering(world, "a")
    large = Asked(world, file("large"))
    small = Asked(world, file("b"))
    assert small.has_begun.wait(WAIT_S)
    world.go.set()
    assert large.result() == "large"


def test_one_too_large_for_the_room_comes_alone_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ask(world, "b")
    assert ask(world, "large") == "large"
    assert set(world.residents.states()) == {"large"}
    assert "large takes 0.0 GB of memory; for chat models there are 0.0 GB" in caplog.text


def test_nothing_is_loaded_for_who_left_while_waiting_for_room(world: World) -> None:
    ask(world, "b")
    for name in ("a", "b"):
        answering(world, name)
    gone = Asked(world, file("c"))
    gone.job.cancel()
    world.go.set()
    assert isinstance(gone.error(), ShuttingDown)
    assert ask(world, "a") == "a"
    assert world.loads == ["a", "b"]


def test_loading_stops_when_nobody_waits_for_it_any_more(world: World) -> None:
    world.slow.add("b")
    world.is_loading.clear()
    gone = Asked(world, file("b"))
    assert world.is_loading.wait(WAIT_S)
    assert world.residents.states()["b"] == "loading"
    gone.job.cancel()
    assert until(lambda: "b" not in world.residents.states())
    world.slow.clear()
    assert ask(world, "b") == "b"
    assert world.residents.status.state == "ready"


def test_a_broken_one_fails_its_own_turns_and_is_tried_again(world: World) -> None:
    world.broken.add("b")
    for _ in range(2):
        error = Asked(world, file("b")).error()
        assert isinstance(error, Unavailable)
        assert error.message == "b is broken mend it"
        assert ask(world, "a") == "a"
    world.broken.clear()
    assert ask(world, "b") == "b"
    assert world.loads == ["a", "b", "b", "b"]


def test_an_error_in_loading_that_nobody_thought_of_fails_the_turns_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.strange.add("b")
    with opened(world):
        assert "ZeroDivisionError" in Asked(world, file("b")).error().message
        assert ask(world, "a") == "a"
    assert "chat model b could not be loaded" in caplog.text


def test_the_state_of_chat_is_that_of_its_default_model() -> None:
    world = World()
    world.broken.add("a")
    with opened(world):
        assert until(lambda: world.residents.status.state == "unavailable")
        assert world.residents.status == EngineStatus("unavailable", "a is broken", "mend it")
        assert ask(world, "b") == "b"
        assert world.residents.status.state == "unavailable"
        world.broken.clear()
        assert ask(world, "a") == "a"
        assert world.residents.status == EngineStatus("ready")


def test_without_a_default_model_the_others_answer() -> None:
    with opened(World(has_default=False)) as world:
        assert world.residents.status == EngineStatus("unavailable", "there is none", "get one")
        assert ask(world, "b") == "b"


@pytest.mark.parametrize("keep_alive_s", [0, 0.05])
def test_a_request_says_how_long_its_model_stays(world: World, keep_alive_s: float) -> None:
    ask(world, "b", keep_alive_s)
    assert until(lambda: set(world.residents.states()) == {"a"})
    assert ask(world, "b") == "b"
    time.sleep(0.1)
    assert set(world.residents.states()) == {"a", "b"}


def test_a_model_that_nobody_asks_for_goes_after_its_time() -> None:
    with opened(World(keep_alive_s=0.05)) as world:
        assert until(lambda: world.loads == ["a"] and world.residents.states() == {})
        assert world.residents.status.state == "ready"
        ask(world, "b", keep_alive_s=math.inf)
        assert ask(world, "a") == "a"
        assert until(lambda: world.residents.states() == {"b": "loaded"})


def test_one_is_unloaded_when_asked_to_be_but_not_while_it_answers(world: World) -> None:
    begun = answering(world, "a")
    with pytest.raises(ModelBusy, match="'a' is answering"):
        world.residents.unload("a")
    world.go.set()
    begun.result()
    world.residents.unload("a")
    assert world.residents.states() == {}
    world.residents.unload("never heard of")
    assert ask(world, "a") == "a"


def test_a_model_whose_settings_changed_takes_the_place_of_its_earlier_self(world: World) -> None:
    world.go.clear()
    before = Asked(world, file("a"))
    assert before.has_begun.wait(WAIT_S)
    changed = ChatFile("a", Path("elsewhere.gguf"))
    after = Asked(world, changed)
    world.go.set()
    assert before.result() == after.result() == "a"
    assert world.loads == ["a", "a"]
    assert world.residents.states() == {"a": "loaded"}


def test_an_error_in_deciding_fails_who_waits_and_the_next_is_answered(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(Asked(world, file("unheard-of")).error(), InternalError)
    assert ask(world, "b") == "b"
    assert "unheard-of" in caplog.text


def test_who_hangs_up_in_the_queue_of_a_model_holds_nobody_up() -> None:
    with opened(World(room=10)) as world:
        answering(world, "a")
        queued = Asked(world, file("a"))
        other = Asked(world, file("b"))
        time.sleep(2 * QUICK.max_stay_s)
        queued.job.cancel()
        world.go.set()
        assert other.result() == "b"


def test_only_so_many_wait_for_room() -> None:
    with opened(World(room=10, max_queued=2)) as world:
        answering(world, "a")
        waiting = [Asked(world, file(name)) for name in ("b", "c")]
        with pytest.raises(QueueFull):
            Asked(world, file("d"))
        assert world.residents.num_refused == 1
        assert (world.residents.num_waiting, world.residents.num_running) == (2, 1)
        waiting[0].job.cancel()
        waiting.append(Asked(world, file("d")))
        world.go.set()
        assert [asked.result() for asked in waiting[1:]] == ["c", "d"]


def test_closing_ends_every_job_wherever_it_is() -> None:
    world = World(room=10)
    with opened(world):
        begun = answering(world, "a")
        waiting = [Asked(world, file(name)) for name in ("a", "b")]
        world.go.set()
    assert begun.is_over.wait(WAIT_S)
    assert all(isinstance(asked.error(), ShuttingDown) for asked in waiting)
    with pytest.raises(ShuttingDown):
        Asked(world, file("a"))


def test_closing_does_not_wait_for_a_model_that_is_being_loaded() -> None:
    world = World()
    world.slow.add("a")
    with opened(world):
        assert world.is_loading.wait(WAIT_S)
        waiting = Asked(world, file("a"))
    assert isinstance(waiting.error(), ShuttingDown)
    assert not any(t.name == "chat" and t.is_alive() for t in threading.enumerate())


# ------------------------------------------------------------ the real ones

SETTINGS = Settings(_env_file=None, chat_context_tokens=256, chat_threads=1, chat_cache_mb=0)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder with another name of the bundled model, and one that is none."""
    bundled = Catalogue(SETTINGS).chat("smollm2-135m-instruct")
    (tmp_path / "other.gguf").symlink_to(bundled.path)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more")
    return tmp_path


@contextmanager
def real(models_dir: Path, **changes: int) -> Iterator[tuple[Residents, Catalogue]]:
    settings = SETTINGS.model_copy(update={"models_dir": models_dir, **changes})
    catalogue = Catalogue(settings)
    residents = chat_engine(settings, catalogue)
    residents.open()
    yield residents, catalogue
    residents.close()


def said(residents: Residents, catalogue: Catalogue, name: str) -> chat.Asked:
    return chat.Asked(residents, chat.repeating(catalogue.chat(name), "ha", 4))


def test_two_real_models_answer_side_by_side(models_dir: Path) -> None:
    with real(models_dir) as (residents, catalogue):
        jobs = [said(residents, catalogue, name) for name in ("", "other") * 4]
        assert [asked.text() for asked in jobs] == [" ha" * 4] * 8
        assert residents.states() == {"smollm2-135m-instruct": "loaded", "other": "loaded"}
        assert residents.status.state == "ready"


def test_two_real_models_without_room_for_both_answer_in_turns(models_dir: Path) -> None:
    with real(models_dir, chat_memory_mb=150) as (residents, catalogue):
        jobs = [said(residents, catalogue, name) for name in ("", "other") * 4]
        assert [asked.text() for asked in jobs] == [" ha" * 4] * 8
        assert residents.states() == {"other": "loaded"}


def test_a_broken_file_is_named_and_leaves_the_others_alone(models_dir: Path) -> None:
    with real(models_dir) as (residents, catalogue):
        long = chat.Asked(residents, chat.repeating(catalogue.chat(""), "ha", 100))
        error = said(residents, catalogue, "broken").error()
        assert isinstance(error, Unavailable)
        assert "broken.gguf cannot be loaded" in error.message
        assert long.text() == " ha" * 100


def test_the_room_that_a_model_takes_is_known_before_it_is_loaded(models_dir: Path) -> None:
    bundled = Catalogue(SETTINGS).chat("smollm2-135m-instruct")
    options = model_options(SETTINGS, 1, 1, is_default=True, loading=bundled.loading)
    options = with_room(options, bundled.path, Memory(10_000_000_000))
    loaded = Chat(bundled, SETTINGS)
    loaded.load()
    expected = needed_bytes(bundled.path, options)
    loaded._unload()
    assert expected == pytest.approx(loaded.memory_bytes, rel=0.05)
