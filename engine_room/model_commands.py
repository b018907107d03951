"""`python openai_api.py models …`: finding, fetching, removing and choosing models, on a terminal or without.

Each command is a function that ends with an exit code: 0 done, 1 not done and said why.
"""

import argparse
import os
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from engine_room import memory_fit
from engine_room.catalogue import Catalogue
from engine_room.cores import num_usable_cores
from engine_room.errors import (
    ApiError,
    InvalidRequest,
    ModelExists,
    ModelNotFound,
    Unavailable,
    WrongModel,
)
from engine_room.fetch_plan import Plan, plan_for
from engine_room.fetching import Fetcher, Progress
from engine_room.gguf import unquantised
from engine_room.hub import Hub
from engine_room.installed import Installed, by_name, installed, remove, unfinished
from engine_room.local_models import linked, local_path
from engine_room.offers import Offer, Offers
from engine_room.settings import Settings, keep_setting
from engine_room.xtts import licence

if TYPE_CHECKING:
    from engine_room.chat.optimizing import Result

# What kind of model a setting chooses.
CHOOSING = {
    "chat": "CHAT_MODEL",
    "embedding": "EMBEDDING_MODEL",
    "transcription": "TRANSCRIPTION_MODEL",
}
STEP = 0.1  # a line for each tenth, where there is no terminal
AUTO = "auto"


class ModelCommands:
    """The commands, for one set of settings. Answers are kept in `env_file`."""

    def __init__(self, settings: Settings, env_file: Path) -> None:
        self._settings = settings
        self._env_file = env_file
        self._catalogue = Catalogue(settings)
        self._offers = Offers(settings.models_dir)
        self._hub = Hub()
        self._fetcher = Fetcher(self._hub, settings.models_dir)

    def run(self, options: argparse.Namespace) -> int:
        """Run the command that the options name."""
        for problem in (*self._offers.checked()[1], *self._catalogue.settings_problems()):
            print(problem, file=sys.stderr)
        do: Callable[[argparse.Namespace], int] = getattr(self, f"do_{options.do}")
        try:
            return do(options)
        except ApiError as error:
            print(error.message, file=sys.stderr)
            return 1

    def do_list(self, _options: argparse.Namespace) -> int:
        """The models that are here, and those that can be fetched."""
        here = self._here()
        print(f"In {self._settings.models_dir}, or with the install:")
        for model in here:
            note = "  (comes with the install)" if model.is_ours else ""
            note += f"  (sees by {model.projector.name})" if model.projector else ""
            print(f"  {model.id:34} {model.kind:14} {_size(model.size_bytes):>8}{note}")
        for path in unfinished(self._settings.models_dir):
            print(f"  not finished: {path.name.partition('-')[2]} {_size(path.stat().st_size)}")
        print("\nCan be fetched (sizes are estimates):")
        for offer in self._offers.all():
            if by_name(offer.id, here) is None:
                print(self._line(offer))
        print("\nFetch one:  models download NAME   (or owner/name of any GGUF repository)")
        return 0

    def do_search(self, options: argparse.Namespace) -> int:
        """Models by words, in the catalogue and on the hub."""
        words = " ".join(options.words)
        offers = self._offers.search(words)
        for offer in offers:
            print(self._line(offer))
        try:
            found = self._hub.search(words)
        except ApiError as error:
            print(f"The hub was not searched: {error.message}", file=sys.stderr)
            return 0 if offers else 1
        for each in found:
            print(f"  {each.id:60} fetched {each.num_downloads:,} times last month")
        if not found and not offers:
            print(f"Nothing is called {words!r}.", file=sys.stderr)
        return 0 if found or offers else 1

    def do_info(self, options: argparse.Namespace) -> int:
        """What is known of one model, here and on the hub."""
        here, offer = by_name(options.name, self._here()), self._offers.find(options.name)
        if here:
            print(f"{here.id}: {here.kind}, {_size(here.size_bytes)}, here:")
            print("".join(f"  {path}\n" for path in here.all_paths), end="")
        if offer:
            self._tell_of(offer)
        try:
            plan = plan_for(options.name, self._offers, self._hub)
        except ApiError as error:
            if here or offer:
                print(f"The hub was not asked, or knew no more: {error.message}", file=sys.stderr)
                return 0
            raise
        self._describe(plan)
        return 0

    def do_download(self, options: argparse.Namespace) -> int:
        """Fetch a model, after its licence is agreed to if it asks for that."""
        plan = plan_for(options.name, self._offers, self._hub)
        self._describe(plan)
        if not self._is_agreed(plan, options.yes):
            return 1
        place = self._fetch(plan)
        print(f"{plan.id} is in {place}; a running server has it without a restart.")
        return 0

    def do_remove(self, options: argparse.Namespace) -> int:
        """Delete a model's files, or those of a download that was not finished."""
        left = [
            path
            for path in unfinished(self._settings.models_dir)
            if path.name.partition("-")[2].removesuffix(".part") == options.name
        ]
        model = by_name(options.name, self._here())
        if model is None and not left:
            raise ModelNotFound(
                options.name, [each.id for each in self._here() if not each.is_ours]
            )
        size = model.size_bytes if model else sum(path.stat().st_size for path in left)
        if not _agrees(
            f"Delete {model.id if model else options.name} ({_size(size)})?", options.yes
        ):
            return 1
        if model:
            remove(model.id, self._catalogue, self._settings.models_dir)
        else:
            if self._fetcher.is_busy():
                raise ModelExists("A download is running, perhaps this one: stop it first.")
            for path in left:
                path.unlink()
        print(f"Deleted, {_size(size)}.")
        return 0

    def do_use(self, options: argparse.Namespace) -> int:
        """Have a model answer by default from the next start on; fetch it first if it is not here."""
        name = self._best() if options.name == AUTO else self._linked(options.name)
        model = by_name(name, self._here())
        if model is None:
            plan = plan_for(name, self._offers, self._hub)
            self._describe(plan)
            if not _agrees(f"{plan.id} is not here. Fetch it?", options.yes):
                return 1
            if not self._is_agreed(plan, options.yes):
                return 1
            self._fetch(plan)
            model = by_name(plan.id, self._here())
        if model is None or model.kind not in CHOOSING:
            raise InvalidRequest(
                f"{name} is not chosen by a setting: a voice answers to its own name, and cloned voices "
                "speak by an XTTS model as soon as it is there."
            )
        self._keep_choice(CHOOSING[model.kind], model.id)
        return 0

    def _keep_choice(self, setting: str, id_: str) -> None:
        keep_setting(setting, id_, self._env_file)
        print(f"{setting}={id_} is kept in {self._env_file}, for the server's next start.")
        if setting in os.environ:
            print(f"But {setting}={os.environ[setting]} in the environment wins over it.")

    @cached_property
    def _free(self) -> memory_fit.Free:
        return memory_fit.free_memory(self._settings)

    def do_optimize(self, options: argparse.Namespace) -> int:
        """Make a chat model faster on this machine's CPU, as a new file that is kept if it is worth it."""
        from engine_room.chat.optimizing import Optimizer, types_for  # late: it loads llama.cpp

        model = by_name(options.name, self._here())
        if model is None:
            raise ModelNotFound(options.name, [e.id for e in self._here() if e.kind == "chat"])
        if model.kind != "chat":
            raise WrongModel(
                model.id, f"is a {model.kind} model", "Only chat models are optimised."
            )
        source, threads = model.paths[0], self._settings.chat_threads or num_usable_cores()
        types = (options.type.upper(),) if options.type else types_for(model.size_bytes)
        making = Optimizer(source, unquantised(source), self._settings.models_dir, threads)
        missing = making.missing(types)
        with making as optimizer:
            print(
                f"{model.id}, {_size(model.size_bytes)}: perplexity {optimizer.perplexity_before:.2f}"
            )
            tried = []
            for type_ in types:
                if type_ not in missing:
                    print(f"  {type_:7} is there already.")
                    continue
                result = optimizer.attempt(type_, _written)
                tried.append(result)
                print(_told(result), flush=True)
            worth = [each for each in tried if options.type or each.is_worth_it]
            if not worth:
                print(
                    "Nothing is kept: none is faster and loses little. --type TYPE keeps one anyway."
                )
                return 1
            best = max(worth, key=lambda result: result.gain)
            place = optimizer.keep(best.type)
        print(f"{place.stem} is in {place}; a running server has it without a restart.")
        return self._offer_as_default(model.id, place.stem, options.yes)

    def _offer_as_default(self, before: str, id_: str, yes: bool) -> int:
        """Where a model answers by default, ask whether one made of it is to."""
        try:
            is_default = self._catalogue.chat("").id == before
        except Unavailable:  # none does
            return 0
        if not is_default:
            return 0
        if _agrees(f"Have it answer by default instead of {before}?", yes):
            self._keep_choice("CHAT_MODEL", id_)
        return 0

    def _here(self) -> list[Installed]:
        return installed(self._catalogue, self._settings.models_dir)

    def _linked(self, name: str) -> str:
        """The id in `models/` of a model elsewhere on this machine; any other name as it is."""
        path = local_path(name)
        if path is None:
            return name
        id_ = linked(path, self._settings.models_dir)
        print(f"{id_} is in {self._settings.models_dir} by a link; {path} stays where it is.")
        return id_

    def _best(self) -> str:
        free = self._free
        best = memory_fit.best_that_fits(self._offers.all(), self._settings, free)
        if best is None:
            raise InvalidRequest(
                f"None of the offered models fits the {free.ram_bytes / 1e9:.1f} GB of memory that are "
                "free; the one that came with the install does."
            )
        need = memory_fit.need_of(best, self._settings)
        print(f"{best.id} is the best that fits: {need.said(free)}.\n{best.good_at}")
        return best.id

    def _line(self, offer: Offer) -> str:
        need = memory_fit.need_of(offer, self._settings)
        fits = "" if self._free.holds(need) else "(too large now) "
        return (
            f"  {offer.id:34} {offer.kind:14} {_size(offer.size_bytes):>8}  {fits}{offer.good_at}"
        )

    def _tell_of(self, offer: Offer) -> None:
        """What the catalogue knows, without the hub."""
        context = f"{offer.context:,} tokens of context, " if offer.context else ""
        print(
            f"{offer.id}: {offer.good_at}\n"
            f"  {offer.kind}, {offer.parameters:g} billion parameters, {offer.quantisation}, from "
            f"{offer.repository}\n"
            f"  {context}about {_size(offer.size_bytes)}; licence: {offer.licence or 'not said'}"
        )
        self._tell_memory(offer)

    def _tell_memory(self, offer: Offer, file_bytes: int = 0) -> None:
        need = memory_fit.need_of(offer, self._settings, file_bytes)
        verdict = "fits" if self._free.holds(need) else "does not fit now"
        print(f"  memory: {verdict}: {need.said(self._free)}")

    def _describe(self, plan: Plan) -> None:
        print(f"{plan.id}, from {self._hub.endpoint}/{plan.repository.id}")
        if plan.note:
            print(f"  chosen: {plan.note}")
        print(
            f"  {len(plan.files)} file(s), {_size(plan.size_bytes)}; licence: {plan.licence or 'not said'}"
        )
        if eyes := plan.projector:
            print(f"  sees by {eyes.path} ({_size(eyes.size_bytes)}), which becomes {eyes.name}")
        if plan.offer:
            self._tell_memory(plan.offer, plan.size_bytes)

    def _is_agreed(self, plan: Plan, yes: bool) -> bool:
        """Whether the licence is agreed to, where a model asks for that in words."""
        if plan.offer is None or not plan.offer.ask or self._settings.accept_xtts_license:
            return True
        if yes:
            print(licence.TERMS)
            keep_setting(licence.SETTING, "true", self._env_file)
            return True
        return licence.ask(self._env_file) == 0

    def _fetch(self, plan: Plan) -> Path:
        shown = _Shown(plan)
        try:
            place = self._fetcher.fetch(plan, shown.report, threading.Event())
        except KeyboardInterrupt:
            print("\nStopped. What was fetched is kept: the same command goes on from there.")
            raise
        finally:
            shown.close()
        if plan.offer and plan.offer.ask:
            licence.keep_agreement(place)  # for the server that runs
        return place


class _Shown:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, plan: Plan) -> None:
        self._name = plan.id
        self._next = STEP
        self._bar: tqdm | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=plan.size_bytes, unit="B", unit_scale=True, desc=plan.id[:30])

    def report(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._bar is not None:
            self._bar.update(progress.done_bytes - self._bar.n)
            return
        share = progress.done_bytes / max(progress.total_bytes, 1)
        if share < self._next:
            return
        self._next = share - share % STEP + STEP
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        print(
            f"{self._name}: {share:.0%} of {_size(progress.total_bytes)}, "
            f"{_size(int(progress.bytes_per_s))}/s{left}",
            flush=True,
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()


def _agrees(question: str, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        print(f"{question} Nobody is here to ask; say --yes.", file=sys.stderr)
        return False
    try:
        agrees = input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        agrees = False
    if not agrees:
        print("Nothing was done.")
    return agrees


def _written(num_bytes: int) -> None:
    if sys.stderr.isatty():
        print(f"  {_size(num_bytes)} written", end="\r", file=sys.stderr, flush=True)


def _told(result: "Result") -> str:
    return (
        f"  {result.type:7} {_size(result.num_bytes):>8}  perplexity {result.perplexity:.2f} "
        f"({result.loss:+.1%}), answers {result.gain:.2f} times as fast"
    )


def _size(num_bytes: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.1f} {name}"
    return f"{num_bytes} B" if num_bytes else "-"
