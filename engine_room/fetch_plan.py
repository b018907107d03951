"""What is to be fetched for a name: an offer's, a repository's, a file's or an address.

Nothing is chosen silently: a plan says which file of several it took. Names that lead out of their folder
are refused.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from engine_room.errors import BadHub, InvalidRequest, NotFound, RepositoryNotFound, quoted
from engine_room.hub import Hub, HubFile, Repository
from engine_room.offers import Offer, Offers
from engine_room.projectors import PROJECTOR, model_in, projector_name

# Which of several quantisations is taken: small and good first, then larger ones, then what loses more.
QUANTS = (
    "Q4_K_M Q5_K_M Q8_0 Q6_K MXFP4 Q4_K_S Q5_K_S Q4_K_L Q5_K_L Q4_K_XL Q5_K_XL Q6_K_L Q4_1 Q5_1 Q5_0 Q4_0 "
    "IQ4_NL IQ4_XS BF16 F16 F32 Q3_K_L Q3_K_M IQ3_M Q3_K_S IQ3_S IQ3_XS Q2_K_L Q2_K"
).split()
# Of a projector's: the smaller ones lose more than they save, for it is small beside its model.
PROJECTOR_QUANTS = ("F16", "BF16", "Q8_0", "F32")
QUANT = re.compile(
    r"(?:^|[.\-_])((?:i?q\d|tq\d|mxfp4|b?f16|fp16|f32|fp32)(?:_[a-z0-9]+)*)(?=[.\-]|$)", re.I
)
PART = re.compile(r"-(\d{5})-of-(\d{5})$")
PLAIN = re.compile(r"^([\w.\-]+/[\w.\-]+)(?:@([\w./\-]+))?(?::(.+))?$")
# The parts of a path, of which none is hidden, and none means another place.
SAFE_PART = re.compile(r"^[^\W_][^\\/:*?\"<>|\x00-\x1f]{0,199}(?<![. ])$")
HUB_HOSTS = {"huggingface.co", "www.huggingface.co", "hf.co"}
IN_ADDRESS = ("resolve", "blob", "raw", "tree")
WHISPER_FILES = (
    "config.json",
    "model.bin",
    "vocabulary.*",
    "tokenizer.json*",
    "preprocessor_config.json*",
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, and what of it is meant: a file, a quantisation, or what suits best."""

    repository: str
    revision: str = "main"
    file: str = ""
    quant: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fetched, and as what it appears in `models/`: `id`, a file's name or a folder's. The last one
    of the files may be the projector by which the model sees."""

    id: str
    repository: Repository
    files: tuple[HubFile, ...]
    folder: str = ""
    note: str = ""
    licence: str = ""
    offer: Offer | None = None

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def projector(self) -> HubFile | None:
        """The projector among the files."""
        return self.files[-1] if self.files[-1].saved_as else None


def plan_for(name: str, offers: Offers, hub: Hub) -> Plan:
    """What to fetch for a name. Asks the hub. Raises NotFound, InvalidRequest, RepositoryNotFound, Forbidden,
    HubUnreachable, Unavailable, BadHub."""
    plan = _checked(_plan(name, offers, hub))
    files = tuple(
        file
        if file.size_bytes and (file.sha256 or file.git_sha1)
        else hub.stated(plan.repository, file)
        for file in plan.files
    )
    unknown = [file.path for file in files if not (file.sha256 or file.git_sha1)]
    if unknown:
        raise BadHub(f"The hub tells no hash of {unknown[0]}, so that nobody could check it.")
    return replace(plan, files=files)


def _plan(name: str, offers: Offers, hub: Hub) -> Plan:
    offer = offers.find(name)
    if offer:
        return _offered(offer, hub)
    reference = parsed(name, hub.endpoint)
    if reference is None:
        raise NotFound(
            f"{quoted(name)} is no model that can be fetched by that name: `models list` shows those, and "
            "any other comes by owner/name, owner/name:file or its address on the hub.",
            param="model",
            code="model_not_found",
        )
    if not reference.file and not reference.quant:  # of a repository that we know we know more
        same = [
            each for each in offers.all() if each.repository.lower() == reference.repository.lower()
        ]
        if len(same) == 1 and reference.revision == "main":
            return _offered(same[0], hub)
    return _referred(reference, hub.repository(reference.repository, reference.revision))


def parsed(name: str, endpoint: str = "") -> Reference | None:
    """The repository that a name or an address means; None when it has the form of neither. Raises
    InvalidRequest for an address elsewhere."""
    name = name.strip()
    if "://" in name or name.partition("/")[0].lower() in HUB_HOSTS:
        return _of_address(name, endpoint)
    found = PLAIN.match(name)
    if found is None:
        return None
    repository, revision, rest = found.groups()
    is_file = bool(rest) and ("." in rest or "/" in rest)
    return Reference(
        repository, revision or "main", rest if is_file else "", "" if is_file else rest or ""
    )


def _of_address(name: str, endpoint: str) -> Reference:
    try:
        url = urlsplit(name if "://" in name else f"https://{name}")
        host = url.hostname or ""
    except ValueError:
        url, host = urlsplit(""), ""
    is_short = url.scheme in ("hf", "huggingface")  # hf://owner/name/file
    if not (is_short or host in HUB_HOSTS or (endpoint and name.startswith(f"{endpoint}/"))):
        raise InvalidRequest(
            f"{quoted(name)} is no address of {endpoint or 'the hub'}; models are fetched from there only. "
            "Put a file from elsewhere into models/ yourself.",
            param="model",
        )
    path = f"{url.netloc}{url.path}" if is_short else url.path
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) == 2:  # it may end as a plain name does
        plain = parsed("/".join(parts))
        if plain:
            return plain
    repository = "/".join(parts[:2])
    if len(parts) < 2 or not PLAIN.match(repository):
        raise InvalidRequest(f"{quoted(name)} names no repository (owner/name).", param="model")
    if not is_short and parts[2] in IN_ADDRESS and len(parts) > 3:
        return Reference(repository, parts[3], "/".join(parts[4:]))
    return Reference(repository, file="/".join(parts[2:]))


def _offered(offer: Offer, hub: Hub) -> Plan:
    repository = hub.repository(offer.repository, offer.revision)
    note = ""
    try:
        files = _matching(offer.files, repository)
    except RepositoryNotFound:
        renamed = _renamed(offer, repository)
        if renamed is None:
            raise
        files = [renamed]
        note = f"{renamed.path}, as there is no {offer.files[0]}; both {offer.quantisation}"
    if offer.folder:
        id_ = offer.folder
    else:
        files = list(_parts_of(files[0], repository.files)) if len(files) == 1 else files
        id_ = _stem(files[0])
        if offer.kind == "chat":
            files += _projector_of(files[0], repository, offer.mmproj, offer.mmproj in offer.sha256)
    pinned = (replace(file, sha256=offer.sha256.get(file.path, file.sha256)) for file in files)
    return Plan(id_, repository, tuple(pinned), offer.folder or "", note, offer.licence, offer)


def _renamed(offer: Offer, repository: Repository) -> HubFile | None:
    """The one file that is what an offer means, where its maker has named it otherwise (or split it) since:
    of the same quantisation, and answering to the offer's name."""
    if offer.folder or offer.sha256 or len(offer.files) > 1:
        return None
    same = [
        file
        for file in _candidates(repository)
        if _quant(file) == offer.quantisation.upper()
        and _stem(file).lower().startswith(f"{offer.id.lower()}")
    ]
    return same[0] if len(same) == 1 else None


def _matching(patterns: Iterable[str], repository: Repository) -> list[HubFile]:
    """The files of these names, which must be there, and patterns, which need not."""
    found: list[HubFile] = []
    for pattern in patterns:
        matching = [file for file in repository.files if fnmatchcase(file.path, pattern)]
        if not matching and not re.search(r"[*?\[]", pattern):
            raise _no_file(pattern, repository)
        found += [file for file in matching if file not in found]
    if not found:
        raise _no_file(", ".join(patterns), repository)
    return found


def _referred(reference: Reference, repository: Repository) -> Plan:
    if reference.file:
        chosen = next((file for file in repository.files if file.path == reference.file), None)
        if chosen is None or not chosen.path.lower().endswith(".gguf"):
            raise _no_file(reference.file, repository)
        note = ""
    elif candidates := _candidates(repository):
        chosen, note = _best(candidates, reference.quant, repository)
    elif any(file.path == "model.bin" for file in repository.files):
        files = tuple(_matching(WHISPER_FILES, repository))
        id_ = repository.id.partition("/")[2]
        return Plan(id_, repository, files, id_, "", repository.licence)
    else:
        raise _no_file("*.gguf", repository)
    parts = _parts_of(chosen, repository.files)
    files = (*parts, *_projector_of(parts[0], repository))
    return Plan(_stem(parts[0]), repository, files, "", note, repository.licence)


def _candidates(repository: Repository) -> list[HubFile]:
    """The GGUF files of which each is a model, or the first part of one."""
    return [
        file
        for file in repository.files
        if file.path.lower().endswith(".gguf")
        and not re.search(r"mmproj|imatrix", file.path, re.I)
        and _part_number(file) <= 1
    ]


def _projector_of(
    model: HubFile, repository: Repository, wanted: str = "", is_pinned: bool = False
) -> list[HubFile]:
    """The projector by which a model sees, or none, under a name by which it is found here: the one that is
    wanted (or, unless its content is pinned, what its maker has in its place by now), else the preferred of
    those that are surely the model's. Raises RepositoryNotFound."""
    if not wanted and PROJECTOR in _stem(model).lower():
        return []
    surely = _projectors(model, repository)
    found = [file for file in repository.files if file.path == wanted] or surely
    if wanted and (not found or (is_pinned and found[0].path != wanted)):
        raise _no_file(wanted, repository)
    return [
        replace(file, saved_as=projector_name(_stem(model), _quant(file))) for file in found[:1]
    ]


def _projectors(model: HubFile, repository: Repository) -> list[HubFile]:
    """The projectors of the model's name, else those of no name; those of another's only where the
    repository has no other model. The preferred one first."""
    found = [
        file
        for file in repository.files
        if file.path.lower().endswith(".gguf") and PROJECTOR in _stem(file).lower()
    ]
    name = model_in(_stem(model))
    own = [file for file in found if model_in(_stem(file)) == name]
    own = own or [file for file in found if not model_in(_stem(file))]
    if not own and {model_in(_stem(file)) for file in _candidates(repository)} == {name}:
        own = found
    quants = [*PROJECTOR_QUANTS, ""]
    return sorted(own, key=lambda file: (quants.index(_known_quant(file)), file.path))


def _known_quant(file: HubFile) -> str:
    return _quant(file) if _quant(file) in PROJECTOR_QUANTS else ""


def _best(candidates: list[HubFile], quant: str, repository: Repository) -> tuple[HubFile, str]:
    by_quant: dict[str, HubFile] = {}
    for file in sorted(candidates, key=lambda file: (len(file.path), file.path)):
        by_quant.setdefault(_quant(file), file)
    there = ", ".join(sorted(name for name in by_quant if name)) or "none that their names tell"
    if quant:
        if quant.upper() not in by_quant:
            raise RepositoryNotFound(
                f"{repository.id} has no quantisation {quoted(quant)}; there are: {there}."
            )
        return by_quant[quant.upper()], ""
    for name in QUANTS:
        if name in by_quant:
            note = f"{name} of {there}" if len(by_quant) > 1 else ""
            return by_quant[name], note
    if len(candidates) == 1:
        return candidates[0], ""
    names = ", ".join(file.path for file in candidates[:20])
    raise InvalidRequest(
        f"{repository.id} has several files; choose one with {repository.id}:FILE: {names}.",
        param="model",
    )


def _quant(file: HubFile) -> str:
    stem = PART.sub("", PurePosixPath(file.path).stem)
    found = QUANT.findall(stem)
    return found[-1].upper().replace("FP", "F") if found else ""


def _part_number(file: HubFile) -> int:
    found = PART.search(PurePosixPath(file.path).stem)
    return int(found[1]) if found else 0


def _parts_of(chosen: HubFile, files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """All parts of a split model; a file that is not split alone. Raises BadHub when one is missing."""
    path = PurePosixPath(chosen.path)
    found = PART.search(path.stem)
    if not found:
        return (chosen,)
    by_path = {file.path: file for file in reversed(list(files))}
    names = [
        str(path.with_name(f"{path.stem[: found.start()]}-{number:05}-of-{found[2]}{path.suffix}"))
        for number in range(1, int(found[2]) + 1)
    ]
    missing = [name for name in names if name not in by_path]
    if missing:
        raise BadHub(f"Of {chosen.path} parts are missing on the hub: {', '.join(missing[:5])}.")
    return tuple(by_path[name] for name in names)


def _stem(file: HubFile) -> str:
    return PurePosixPath(file.path).stem


def _checked(plan: Plan) -> Plan:
    """The plan, its names being names of files in one folder. Raises BadHub."""
    names = [file.name for file in plan.files]
    for path in [plan.id, *names, *(file.path for file in plan.files)]:
        if not all(SAFE_PART.match(part) for part in path.split("/")):
            raise BadHub(
                f"{plan.repository.id} has a file named {quoted(path)}, which may not be written here."
            )
    if len({os.path.normcase(name) for name in names}) < len(names):
        raise BadHub(f"{plan.repository.id} has two files of one name: {', '.join(names)}.")
    return plan


def _no_file(name: str, repository: Repository) -> RepositoryNotFound:
    models = [
        file.path for file in repository.files if file.path.endswith((".gguf", ".bin", ".pth"))
    ]
    by_lower = {path.lower(): path for path in models}
    nearest = [by_lower[each] for each in get_close_matches(name.lower(), by_lower, n=1)]
    first = [*nearest, *(path for path in models if path not in nearest)]
    there = (
        f"; there are: {', '.join(first[:20])} ({repository.id}:FILE fetches one)" if models else ""
    )
    return RepositoryNotFound(f"{repository.id} has no file {quoted(name)} to fetch{there}.")
