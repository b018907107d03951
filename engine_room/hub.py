"""The hub that models come from, Hugging Face or what HF_ENDPOINT says: what it has, and the bytes of it.

The only importer of huggingface_hub, whose token, proxies, timeouts and offline mode count here.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from engine_room.errors import (
    ApiError,
    BadHub,
    Forbidden,
    HubUnreachable,
    InvalidRequest,
    RepositoryNotFound,
    Unavailable,
    quoted,
)

# What its HTTP library raises: httpx before version 2 and on Python 3.10, httpx2 since.
TRANSPORT_ERROR: type[BaseException] = HfHubHTTPError.__bases__[0]
# It reads 64 kB at a time, and each time costs as much as hashing them. It has no setting for that; should
# the number be elsewhere one day, downloads of gigabits a second are slower, and that is all.
with suppress(ImportError, AttributeError):
    _core = importlib.import_module(TRANSPORT_ERROR.__module__.replace("httpx", "httpcore"))
    _core.HTTP11Connection.READ_NUM_BYTES = 1 << 20
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416
NUM_FOUND = 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: what the hub says of it. Large files have a SHA-256, small ones git's SHA-1.
    `saved_as` is its name here, where that is another one."""

    path: str
    size_bytes: int
    sha256: str = ""
    git_sha1: str = ""
    saved_as: str = ""

    @property
    def name(self) -> str:
        """Its name here."""
        return self.saved_as or PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit."""

    id: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A repository that a search found."""

    id: str
    num_downloads: int


@dataclass(frozen=True, slots=True)
class Body:
    """A file's bytes from some position on, which is 0 where the hub did not do as it was asked."""

    start: int
    chunks: Iterator[bytes]


class Hub:
    """Asks the hub. Callable from any thread; each call waits for the network."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._api = HfApi(endpoint=endpoint)
        self.endpoint = self._api.endpoint

    def repository(self, repository_id: str, revision: str = "main") -> Repository:
        """What a repository has. Raises InvalidRequest, RepositoryNotFound, Forbidden, HubUnreachable,
        Unavailable, BadHub."""
        with self._translated(repository_id):
            info = self._api.model_info(
                repository_id,
                revision=revision,
                files_metadata=True,
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
            )
            files = tuple(
                HubFile(
                    each.rfilename,
                    each.size or 0,
                    each.lfs.sha256 if each.lfs else "",
                    "" if each.lfs else each.blob_id or "",
                )
                for each in info.siblings or ()
            )
            licences = [
                tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:")
            ]
            return Repository(info.id, info.sha or revision, files, ", ".join(licences))

    def stated(self, repository: Repository, file: HubFile) -> HubFile:
        """A file as the hub states it when it is asked for it, where the list does not tell."""
        url = hf_hub_url(
            repository.id, file.path, revision=repository.commit, endpoint=self.endpoint
        )
        with self._translated(repository.id, file.path):
            found = get_hf_file_metadata(url, endpoint=self.endpoint, headers=build_hf_headers())
        etag = found.etag or ""
        is_sha256 = len(etag) == 64
        return replace(
            file,
            size_bytes=found.size or 0,
            sha256=etag if is_sha256 else "",
            git_sha1="" if is_sha256 else etag,
        )

    def search(self, words: str) -> list[Found]:
        """The repositories with GGUF files whose names have these words, the most fetched first."""
        with self._translated(words):
            found = self._api.list_models(
                search=words, filter="gguf", sort="downloads", limit=NUM_FOUND
            )
            return [Found(each.id, each.downloads or 0) for each in found]

    @contextmanager
    def opened(self, repository: Repository, file: HubFile, start: int) -> Iterator[Body]:
        """A file's bytes from a position on, to be read within the context. Raises as `repository` does,
        HubUnreachable also where the connection breaks while they are read."""
        url = hf_hub_url(
            repository.id, file.path, revision=repository.commit, endpoint=self.endpoint
        )
        # As it is: what is compressed has other positions.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with (
            self._translated(repository.id, file.path),
            get_session().stream(
                "GET",
                url,
                headers=headers,
                follow_redirects=True,
                timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            ) as response,
        ):
            if start and response.status_code == RANGE_NOT_SATISFIABLE:
                yield Body(0, iter(()))
                return
            hf_raise_for_status(response)
            goes_on = response.status_code == PARTIAL_CONTENT and response.headers.get(
                "content-range", ""
            ).startswith(f"bytes {start}-")
            yield Body(start if goes_on else 0, response.iter_raw())

    @contextmanager
    def _translated(self, repository_id: str, path: str = "") -> Iterator[None]:
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise Unavailable(
                "Nothing is fetched: HF_HUB_OFFLINE is set.", "Start without it to fetch models."
            ) from error
        except HfHubHTTPError as error:
            raise self._refusal(error, repository_id, path) from error
        except TRANSPORT_ERROR as error:
            raise HubUnreachable(
                f"{self.endpoint} cannot be reached, or broke off ({error or type(error).__name__}).",
                "Look to the network (HTTPS_PROXY, HF_ENDPOINT), and try again.",
            ) from error
        except HFValidationError as error:
            raise InvalidRequest(
                f"{quoted(repository_id)} names no repository.", param="model"
            ) from error
        except (ValueError, KeyError, TypeError) as error:  # no JSON, or none of a hub
            raise BadHub(f"{self.endpoint} does not answer as a hub does: {error!r}.") from error

    def _refusal(self, error: HfHubHTTPError, repository_id: str, path: str) -> ApiError:
        status = error.response.status_code
        where = f"{self.endpoint}/{repository_id}"
        if isinstance(error, GatedRepoError) or status == 403:
            return Forbidden(
                f"{where} wants its terms agreed to: open it in a browser, log in, agree, and set HF_TOKEN "
                "to a token of that account."
            )
        if status == 401:  # which is what the hub says to strangers of what does not exist, too
            return RepositoryNotFound(
                f"There is no {where}, or it is not open to everybody: check the name, and set HF_TOKEN (or "
                "run `hf auth login`) if it wants a login. A token that is set may be wrong or too old."
            )
        if status == 404:
            what = (
                f"no file {quoted(path)} in {where}"
                if path
                else f"no {where} (or no such revision)"
            )
            return RepositoryNotFound(f"There is {what}.")
        if status == 429 or status >= 500:
            return HubUnreachable(f"{self.endpoint} answers {status}.", "Try again later.")
        return BadHub(f"{where} answers {status}: {error.server_message or error}.")
