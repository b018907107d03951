"""The chat models in memory: which one comes, which one goes for it, and who waits meanwhile.

To the routes `Residents` is an engine as the others are. Each model in memory is a `Resident` with an
engine of its own; what is asked of one that is not there waits here. The thread of `Residents` only decides.
It knows no model library.

A model goes when another one needs its room: the one longest not used first, and never while it answers.
So that two clients with a model each do not reload it at every request, one that is in use stays for a time
that is long beside its loading; what comes for it after that waits behind those who waited before.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from engine_room.catalogue import ChatFile
from engine_room.chat.memory import Memory
from engine_room.chat.resident import Load, Patience, Resident
from engine_room.chat.turn import ModelTurn
from engine_room.errors import (
    InternalError,
    LoadingStopped,
    ModelBusy,
    QueueFull,
    ShuttingDown,
    Unavailable,
)
from engine_room.jobs import (
    STOP_S,
    Deliver,
    Engine,
    Failed,
    Job,
    Serve,
    Status,
    counted,
    refusing,
)
from engine_room.schemas import ModelStatus

log = logging.getLogger(__name__)
# A job whose client hung up leaves an engine's queue without a word: so what waits for that looks.
LOOK_AGAIN_S = 1.0


class Residents:
    """The models in memory. Any thread may call any of it; see `Engine` for what it has of that."""

    name = "chat"

    def __init__(
        self,
        load: Load,
        need_of: Callable[[ChatFile], Memory],
        default: Callable[[], ChatFile],
        budget: Callable[[], Memory],
        keep_alive_s: float,
        max_queued: int,
        patience: Patience | None = None,
    ) -> None:
        """`need_of` tells the memory that a model will take; together they take at most what `budget` says
        when it is asked, once, but that a single one may take more. `default` names the one to begin with."""
        self._load = load
        self._need_of = need_of
        self._default = default
        self._ask_budget, self._budget = budget, Memory()
        self._keep_alive_s = keep_alive_s
        self._max_queued = max_queued
        self._patience = patience or Patience()
        self._changed = threading.Condition()  # guards all that follows
        self._residents: list[Resident] = []
        self._waiting: deque[Job[ModelTurn]] = deque()
        self._status = Status("loading", "its model is being loaded")
        self._wake_at = math.inf
        self._num_refused = 0
        self._is_closing = self._is_over = False
        self._thread = threading.Thread(target=self._run, name="chat models", daemon=True)

    # ------------------------------------------------------------ as an engine

    @property
    def status(self) -> Status:
        """How the default model is, or was when it was last tried; it may have been unloaded since."""
        return self._status

    @property
    def num_waiting(self) -> int:
        """Jobs that are not begun."""
        with self._changed:
            waiting = sum(not job.cancelled for job in self._waiting)
            return waiting + sum(each.engine.num_waiting for each in self._residents)

    @property
    def num_running(self) -> int:
        """Jobs that are being worked at."""
        with self._changed:
            return sum(each.engine.num_running for each in self._residents)

    @property
    def num_refused(self) -> int:
        """Jobs refused with QueueFull since the start."""
        with self._changed:
            return self._num_refused

    def open(self) -> None:
        """Start the thread, and load the default model; returns at once."""
        self._thread.start()

    def submit(self, turn: ModelTurn, deliver: Deliver) -> Job[ModelTurn]:
        """Queue a turn; `deliver` is called on its model's thread. Raises QueueFull, ShuttingDown."""
        job = Job(turn, deliver)
        with self._changed:
            if self._is_closing:
                raise ShuttingDown
            try:
                self._put(job)
            except QueueFull:
                self._num_refused += 1
                raise
        return job

    def _put(self, job: Job[ModelTurn]) -> None:
        resident = self._resident(job.turn.file)
        if resident and resident.takes_turns:
            self._give(resident, job)
            return
        if len(self._waiting) >= self._max_queued:
            self._drop_cancelled()
        if len(self._waiting) >= self._max_queued:
            raise QueueFull(self.name, self._max_queued)
        self._waiting.append(job)
        self._changed.notify_all()

    def refuse(self) -> None:
        """Take no more jobs and fail those that wait; those that run go on. Returns at once."""
        with self._changed:
            self._is_closing = True
            refused, self._waiting = self._waiting, deque()
            engines = [each.engine for each in self._residents]
        for job in refused:
            job.end(Failed(ShuttingDown()))
        for engine in engines:
            engine.refuse()

    def close(self, finish_within_s: float = 0) -> None:
        """Let what runs finish within a time, then stop it, free the models, and end the threads."""
        self.refuse()
        deadline = time.monotonic() + finish_within_s
        for resident in list(self._residents):
            resident.engine.close(max(0, deadline - time.monotonic()))
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    # ------------------------------------------------------------ what is in memory

    def states(self) -> dict[str, ModelStatus]:
        """The ids of the models in memory, and whether they are there yet."""
        with self._changed:
            return {
                each.file.id: "loading" if each.loaded_at == math.inf else "loaded"
                for each in self._residents
                if not each.is_leaving
            }

    def unload(self, model_id: str) -> None:
        """Free a model's memory, and wait until that is done; one that is not there is none. Raises
        ModelBusy while it answers."""
        with self._changed:
            found = [each for each in self._residents if each.file.id == model_id]
            if not all(each.engine.is_idle for each in found):
                raise ModelBusy(model_id)
            for each in found:
                each.is_leaving = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_over or not any(each in self._residents for each in found)
            )

    def _resident(self, file: ChatFile) -> Resident | None:
        return next(
            (each for each in self._residents if each.file == file and not each.is_leaving), None
        )

    # ------------------------------------------------------------ deciding, on its own thread

    def _run(self) -> None:
        budget = self._ask_budget()
        with self._changed:
            self._budget = budget
            if not self._is_closing:
                self._begin_default()
        while True:
            with self._changed:
                while not (gone := self._arranged()) and not self._is_over:
                    self._changed.wait(counted(self._wake_at - time.perf_counter()))
            if not gone:
                return
            gone.engine.close()
            with self._changed:
                self._residents.remove(gone)
                self._changed.notify_all()
            log.info("chat model %s unloaded", gone.file.id)

    def _begin_default(self) -> None:
        try:
            self._begin(self._default(), is_preloaded=True)
        except Unavailable as error:  # others may answer all the same
            self._status = Status("unavailable", error.reason, error.mend)
            log.error("chat is unavailable: %s", error.message)

    def _arranged(self) -> Resident | None:
        """`_arrange`, whatever happens: nobody waits for ever."""
        try:
            return self._arrange()
        except Exception:
            log.exception("the chat models could not be arranged")
            failed, self._waiting = self._waiting, deque()
            for job in failed:
                job.end(Failed(InternalError()))
            return None

    def _arrange(self) -> Resident | None:
        """Do what can be done now, and set when to look again; a resident that is to be ended, if any."""
        now = time.perf_counter()
        self._wake_at = math.inf
        self._drop_cancelled()
        for resident in self._residents:
            resident.is_draining = False
        first_waiting = {job.turn.file: job.submitted_at for job in reversed(self._waiting)}
        for file, since in sorted(first_waiting.items(), key=lambda item: item[1]):
            if not self._resident(file) and not self._is_closing:
                self._bring(file, since, now)
        self._hand_over()
        self._expire(now)
        leaving = (each for each in self._residents if each.is_leaving and each.engine.is_idle)
        return next(leaving, None)

    def _bring(self, file: ChatFile, since: float, now: float) -> None:
        """Begin with a model that somebody waits for since then, or see off those that are in its way."""
        in_its_way = self._in_the_way_of(file)
        if not in_its_way:
            self._begin(file)
            return
        can_all_go = True
        for each in in_its_way:
            is_replaced = each.file.id == file.id  # its settings have changed
            stays_until = now if is_replaced else each.stays_until(since, self._patience)
            each.is_draining = now >= stays_until
            is_idle = each.engine.is_idle
            goes_at = min(stays_until, each.pauses_until(self._patience)) if is_idle else math.inf
            can_all_go = can_all_go and (each.is_leaving or now >= goes_at)
            times = (stays_until, goes_at, now + LOOK_AGAIN_S)
            self._wake_at = min([self._wake_at, *(t for t in times if t > now)])
        if can_all_go:
            for each in in_its_way:
                each.is_leaving = True

    def _in_the_way_of(self, file: ChatFile) -> list[Resident]:
        """Those that have to go for a model: the earlier self of it, and as many of the others as take the
        room it needs where it needs it, those that leave anyway first, then the one longest not used."""
        in_its_way = [each for each in self._residents if each.file.id == file.id]
        others = [each for each in self._residents if each not in in_its_way]
        others.sort(key=lambda each: (not each.is_leaving, not each.engine.is_idle, each.used_at))
        wanted = self._need_of(file)
        taken = sum((each.memory for each in others), wanted)
        for each in others:
            if self._budget.is_short_of(wanted, taken, each.memory):
                in_its_way.append(each)
                taken -= each.memory
        return in_its_way

    def _begin(self, file: ChatFile, is_preloaded: bool = False) -> None:
        memory = self._need_of(file)
        if not self._budget.holds(memory):
            log.warning(
                "chat model %s takes %s; for chat models there are %s",
                file.id,
                memory,
                self._budget,
            )
        resident = Resident(file, memory, self._keep_alive_s, is_preloaded)
        resident.engine = Engine(
            self.name,
            lambda: self._loaded(resident),
            self._max_queued,
            lambda: self._job_ended(resident),
        )
        self._residents.append(resident)
        resident.engine.open()

    def _hand_over(self) -> None:
        """Give those that wait to their models, as far as these take turns."""
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            resident = self._resident(job.turn.file)
            try:
                if resident and resident.takes_turns:
                    self._give(resident, job)
                    continue
            except QueueFull:
                log.debug("too many wait for %s already", job.turn.file.id)
            self._waiting.append(job)

    def _give(self, resident: Resident, job: Job[ModelTurn]) -> None:
        """Raises QueueFull, ShuttingDown."""
        resident.engine.put(job)
        resident.used_at = time.perf_counter()
        wanted_s = job.turn.keep_alive_s
        resident.keep_alive_s = self._keep_alive_s if wanted_s is None else wanted_s

    def _expire(self, now: float) -> None:
        """See off those that nobody used for as long as they were to be kept."""
        for each in self._residents:
            if each.loaded_at == math.inf or each.keep_alive_s == math.inf:
                continue
            expires_at = each.used_at + each.keep_alive_s
            if now >= expires_at and each.engine.is_idle:
                each.is_leaving = True
            later = expires_at if expires_at > now else now + LOOK_AGAIN_S
            self._wake_at = min(self._wake_at, later)

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._waiting if job.cancelled]:
            self._waiting.remove(job)
            job.end(Failed(ShuttingDown()))

    # ------------------------------------------------------------ on the threads of the models

    def _loaded(self, resident: Resident) -> Serve[ModelTurn]:
        """Load a model; what serves its turns, or fails them all."""
        try:
            loaded = self._load(resident.file, lambda: self._is_unwanted(resident))
        except Unavailable as error:
            return refusing(self._failed(resident, error))
        except Exception as error:
            log.exception("chat model %s could not be loaded", resident.file.id)
            what = Unavailable(f"{type(error).__name__}: {error}.", "See the log.")
            return refusing(self._failed(resident, what))
        with self._changed:
            resident.loaded_at = resident.used_at = time.perf_counter()
            resident.memory = loaded.memory
            self._tell(resident, Status("ready"))
            self._changed.notify_all()
        return loaded.serve

    def _is_unwanted(self, resident: Resident) -> bool:
        """Whether nobody waits for a model that is being loaded; from then on nobody is given to it."""
        with self._changed:
            is_wanted = resident.is_preloaded or resident.engine.is_wanted
            resident.is_leaving = resident.is_leaving or self._is_closing or not is_wanted
            return resident.is_leaving

    def _failed(self, resident: Resident, error: Unavailable) -> Unavailable:
        """What those who wait for a model are told that could not be loaded; who asks next, tries again."""
        with self._changed:
            resident.is_leaving = True
            if isinstance(error, LoadingStopped):
                log.info("%s", error.message)
            else:
                log.error("%s", error.message)
                self._tell(resident, Status("unavailable", error.reason, error.mend))
            self._changed.notify_all()
        return error

    def _tell(self, resident: Resident, status: Status) -> None:
        """Have it known how chat is, if this is the default model."""
        try:
            if resident.file == self._default():
                self._status = status
        except Unavailable as error:
            self._status = Status("unavailable", error.reason, error.mend)

    def _job_ended(self, resident: Resident) -> None:
        with self._changed:
            resident.used_at = time.perf_counter()
            if self._waiting or resident.engine.is_idle:
                self._changed.notify_all()
