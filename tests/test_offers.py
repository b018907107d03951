"""The models that can be fetched are data, which the user extends without being able to break anything."""

from pathlib import Path

import pytest

from engine_room.catalogue import LISTED_NAMES, ChatFile, _by_name
from engine_room.offers import USERS_FILE, Offer, Offers
from engine_room.whisper_models import WhisperFolder
from engine_room.whisper_models import _by_name as whisper_by_name

OWN = Offers(Path("nowhere")).all()
MINE = '[[model]]\nid = "mine"\nkind = "chat"\nrepository = "me/mine"\nfiles = ["mine-q4_0.gguf"]\n'


def with_users(folder: Path, text: str) -> Offers:
    (folder / USERS_FILE).write_text(text, "utf-8")
    return Offers(folder)


@pytest.mark.parametrize("offer", OWN, ids=lambda offer: offer.id)
def test_a_fetched_offer_answers_to_its_name(offer: Offer) -> None:
    if offer.folder is None:
        path = Path(offer.files[0])
        assert _by_name(offer.id, [ChatFile(path.stem, path)])
    elif offer.kind == "transcription":
        size = offer.id.removeprefix("faster-whisper-")
        assert whisper_by_name(size, [WhisperFolder(Path(offer.folder))])
    else:
        assert offer.folder == offer.id


@pytest.mark.parametrize("offer", OWN, ids=lambda offer: offer.id)
def test_an_offer_says_what_it_is_good_at_under_which_licence_and_about_how_large(
    offer: Offer,
) -> None:
    assert offer.good_at.endswith(".")
    assert offer.licence
    assert 5_000_000 < offer.size_bytes < 25e9
    assert offer.kind != "chat" or (offer.context >= 8192 and offer.kv_bytes)


def test_the_estimated_size_is_near_the_true_one() -> None:
    # The size that many sources give for this very file.
    offer = Offers(Path("nowhere")).find("mistral-7b-instruct-v0.2")
    assert offer
    assert offer.size_bytes == pytest.approx(4_368_439_584, rel=0.02)


def test_no_name_is_offered_twice_and_the_listed_ones_are_offered() -> None:
    ids = [offer.id.lower() for offer in OWN]
    assert len(set(ids)) == len(ids)
    assert {"mistral-7b-instruct-v0.2", "qwen2.5-coder-7b-instruct"} <= set(ids) & set(LISTED_NAMES)


def test_an_offer_is_found_by_its_id_a_beginning_that_only_it_has_and_a_size() -> None:
    offers = Offers(Path("nowhere"))
    found = {
        name: offers.find(name) for name in ("Nomic-Embed-Text", "large-v3", "XTTS_v2", "Turbo")
    }
    ids = {name: offer.id if offer else None for name, offer in found.items()}
    assert ids == {
        "Nomic-Embed-Text": "nomic-embed-text-v1.5",
        "large-v3": "faster-whisper-large-v3",
        "XTTS_v2": "xtts_v2",
        "Turbo": "faster-whisper-large-v3-turbo",
    }
    for name in ("qwen2.5", "qwen", "", "nothing"):  # several begin so, or none
        assert offers.find(name) is None


def test_all_words_of_a_search_must_be_there() -> None:
    ids = [offer.id for offer in Offers(Path("nowhere")).search("CODE filling")]
    assert ids == ["qwen2.5-coder-7b-instruct"]


def test_the_user_adds_offers_and_replaces_them(tmp_path: Path) -> None:
    offers = with_users(tmp_path, MINE + MINE.replace('"mine"', '"XTTS_V2"'))
    assert offers.checked()[1] == []
    assert offers.find("mine")
    replaced = offers.find("xtts_v2")
    assert replaced
    assert replaced.repository == "me/mine"
    assert len(offers.all()) == len(OWN) + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]\n", "(at line 1, column 8)"),
        (MINE + "size = 3\n", "line 1: size: no such key; there are: id, kind, repository"),
        ("\n\n" + MINE.replace('"chat"', '"chats"'), "line 3: kind: Input should be 'chat'"),
        (MINE.replace('"me/mine"', '"mine"'), "repository: String should match"),
        (MINE.replace(".gguf", ".bin"), "without a `folder` all `files` must be .gguf files"),
        (MINE.replace('id = "mine"', 'id = "../mine"'), "id: String should match"),
        (MINE + 'folder = ".."\n', "folder: String should match"),
        (MINE + 'sha256 = { "mine-q4_0.gguf" = "abc" }\n', "sha256.mine-q4_0.gguf: String should"),
        (MINE + 'mmproj = "eyes.bin"\n', "mmproj: String should match"),
        (
            MINE.replace('"chat"', '"embedding"') + 'mmproj = "eyes.gguf"\n',
            "an `mmproj` belongs to a chat model",
        ),
        (MINE + "parameters = inf\n", "parameters: Input should be a finite number"),
        (MINE.replace("[[model]]", "[model]"), "entries begin with [[model]], not [model]"),
        ("mine = 1\n", "'mine' is no key; entries begin with [[model]]"),
        ("model = [3]\n", "entry 1: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_key_and_the_rest_counts(
    tmp_path: Path, text: str, said: str
) -> None:
    offers, problems = with_users(tmp_path, text).checked()
    assert any(said in problem for problem in problems), problems
    assert len(offers) >= len(OWN)
    assert len(problems) == 1


def test_a_users_file_that_cannot_be_read_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / USERS_FILE).write_bytes(b"\xff\xfe\x00")
    assert "offers.toml" in Offers(tmp_path).checked()[1][0]
    (tmp_path / USERS_FILE).unlink()
    (tmp_path / USERS_FILE).mkdir()
    assert "offers.toml" in Offers(tmp_path).checked()[1][0]
    assert len(Offers(tmp_path).all()) == len(OWN)
