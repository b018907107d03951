"""The downloads of a server: who asks for the same model shares one, and each goes on when nobody looks.

To the routes it is an engine as the others are: a turn's items are how far the download is. Each download
has a thread of its own, which waits for the network and the disk only.
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine_room.errors import (
    ApiError,
    Forbidden,
    InternalError,
    NotFound,
    QueueFull,
    ShuttingDown,
    quoted,
)
from engine_room.jobs import Deliver, Done, Event, Failed, Job
from engine_room.offers import Offers
from engine_room.schemas_models import Download
from engine_room.settings import Settings
from engine_room.xtts.licence import COMMAND, SETTING, answer, keep_agreement

if TYPE_CHECKING:  # they bring the hub's library, which takes half a second to load
    from engine_room.fetch_plan import Plan
    from engine_room.fetching import Progress

log = logging.getLogger(__name__)
MAX_RUNNING = 8
NUM_ENDED = 50  # so many that are over are still told of
CLOSE_S = 1  # for the last bytes; what does not answer by then is cut off, and nothing is lost


@dataclass(frozen=True, slots=True)
class DownloadTurn:
    """A model asked for, by any name; `accept_license` if its licence is agreed to. The items of its answer,
    and its result, are Downloads."""

    model: str
    accept_license: bool = False


class Downloads:
    """Starts, shares and stops downloads. Callable from any thread; nothing here waits but `close`."""

    def __init__(self, settings: Settings, endpoint: str | None = None) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._offers = Offers(settings.models_dir)
        self._lock = threading.Lock()
        self._all: dict[str, _Running] = {}
        self._closed = False

    def submit(self, turn: DownloadTurn, deliver: Deliver) -> Job[DownloadTurn]:
        """Fetch a model, or look on while it is fetched; to cancel the job is to look away. Raises QueueFull,
        ShuttingDown."""
        job = Job(turn, deliver)
        with self._lock:
            if self._closed:
                raise ShuttingDown
            for running in self._running():
                is_same = running.state.model.lower() == turn.model.lower()
                is_allowed = running.turn.accept_license or not turn.accept_license
                if is_same and is_allowed and not running.stopped.is_set():
                    running.join(job)
                    return job
            if len(self._running()) >= MAX_RUNNING:
                raise QueueFull("downloads", MAX_RUNNING)
            running = _Running(turn)
            running.join(job)
            self._all[running.state.id] = running
            self._forget()
        running.thread = threading.Thread(
            target=self._run, args=(running,), name=f"download of {turn.model}", daemon=True
        )
        running.thread.start()
        return job

    def all(self) -> list[Download]:
        """The downloads, the newest last."""
        with self._lock:
            return [each.state for each in self._all.values()]

    def stop(self, id_: str) -> Download:
        """Stop a download; what was fetched is kept. One that is over stays as it is. Raises NotFound."""
        with self._lock:
            found = self._all.get(id_)
            if found is None:
                raise NotFound(
                    f"There is no download {quoted(id_)}; GET /v1/models/downloads lists them."
                )
            found.stopped.set()
            return found.state

    def close(self) -> None:
        """Stop them all; each goes on from there when it is asked for again."""
        with self._lock:
            self._closed = True
            threads = [running.thread for running in self._running() if running.thread]
            for running in self._running():
                running.stopped.set()
        deadline = time.monotonic() + CLOSE_S
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))

    def _running(self) -> list["_Running"]:
        return [each for each in self._all.values() if not each.is_over]

    def _forget(self) -> None:
        ended = [id_ for id_, each in self._all.items() if each.is_over]
        for id_ in ended[:-NUM_ENDED]:
            del self._all[id_]

    def _run(self, running: "_Running") -> None:
        from engine_room.fetching import Cancelled

        try:
            plan = self._planned(running)
            if plan:
                self._fetch(running, plan)
        except Cancelled:
            self._end(running, "stopped")
        except ApiError as error:
            self._end(running, "failed", error)
        except Exception:
            log.exception("the download of %s failed", running.state.model)
            self._end(running, "failed", InternalError())

    def _planned(self, running: "_Running") -> "Plan | None":
        """What to fetch; None when another download has the same, which then has these onlookers too; one
        that was stopped, and still waits for the hub to say a word, is waited for."""
        from engine_room.fetch_plan import plan_for
        from engine_room.hub import Hub

        plan = plan_for(running.state.model, self._offers, Hub(self._endpoint))
        if plan.offer and plan.offer.ask:
            self._check_agreed(plan, running.turn)
        with self._lock:
            same = [each for each in self._running() if each.plan and each.plan.files == plan.files]
            for other in same:
                if not other.stopped.is_set():
                    del self._all[running.state.id]
                    for job in running.jobs:
                        other.join(job)
                    return None
            running.plan = plan
        for other in same:
            if other.thread:
                other.thread.join()
        return plan

    def _check_agreed(self, plan: "Plan", turn: DownloadTurn) -> None:
        """Raise Forbidden unless the setting agrees to the licence; where nobody set it, the request."""
        said = answer(self._settings)
        if said or (said is None and turn.accept_license):
            return
        if said is None:
            why = (
                "nobody has said that they agree to it. Its terms are in GET /v1/models/offers, and on the "
                "page under Models: who agrees asks again with `accept_license`: true."
            )
        else:
            why = (
                f"{SETTING} says no to it. Who agrees after all says so with: {COMMAND}, and starts the "
                "server again."
            )
        raise Forbidden(f"{plan.id} is under the {plan.licence}, and {why}")

    def _fetch(self, running: "_Running", plan: "Plan") -> None:
        from engine_room.fetching import Fetcher
        from engine_room.hub import Hub

        def report(progress: "Progress") -> None:
            with self._lock:
                running.tell(
                    status="running",
                    root=plan.id,
                    completed_bytes=progress.done_bytes,
                    total_bytes=progress.total_bytes,
                    bytes_per_s=int(progress.bytes_per_s),
                    seconds_left=progress.seconds_left,
                )

        fetcher = Fetcher(Hub(self._endpoint), self._settings.models_dir)
        place = fetcher.fetch(plan, report, running.stopped)
        if plan.offer and plan.offer.ask and running.turn.accept_license:
            keep_agreement(place)
        log.info("%s is in %s", plan.id, place)
        size = plan.size_bytes
        self._end(
            running, "done", root=plan.id, completed_bytes=size, total_bytes=size, seconds_left=0
        )

    def _end(
        self, running: "_Running", status: str, error: ApiError | None = None, **more: object
    ) -> None:
        with self._lock:
            running.is_over = True
            running.tell(status=status, error=error.message if error else None, **more)
            running.deliver(Failed(error) if error else Done(running.state))


class _Running:
    """One download; what changes does so under the lock of Downloads."""

    def __init__(self, turn: DownloadTurn) -> None:
        self.turn = turn
        self.state = Download(
            id=f"dl-{uuid.uuid4().hex[:12]}", model=turn.model, created=int(time.time())
        )
        self.stopped = threading.Event()
        self.jobs: list[Job[DownloadTurn]] = []
        self.plan: Plan | None = None
        self.thread: threading.Thread | None = None
        self.is_over = False

    def join(self, job: Job[DownloadTurn]) -> None:
        """Somebody looks on; when more than its name is known, they are told at once."""
        self.jobs.append(job)
        if self.state.status != "starting":
            job.deliver(self.state)

    def tell(self, **changes: object) -> None:
        """Let everybody know what changed; a failure's reason they get as the error that it is."""
        self.state = self.state.model_copy(update=changes)
        if self.state.status != "failed":
            self.deliver(self.state)

    def deliver(self, event: Event) -> None:
        """Give an event to everybody who still looks."""
        self.jobs = [job for job in self.jobs if not job.cancelled]
        for job in self.jobs:
            job.deliver(event)


class DownloadFrames:
    """A download as an event stream: how far it is, again and again; the last one says how it ended."""

    def opening(self) -> Iterable[object]:
        """Nothing."""
        return ()

    def item(self, item: Download) -> Iterable[object]:
        """How far it is."""
        return (item.model_dump(),)

    def closing(self, result: Download) -> Iterable[object]:
        """Nothing: the last item said it."""
        return ()
