"""What is fetched for a name is what the name says, and what was chosen is said."""

from pathlib import Path

import pytest

from engine_room.errors import ApiError, BadHub, InvalidRequest, NotFound, RepositoryNotFound
from engine_room.fetch_plan import Plan, Reference, parsed, plan_for
from engine_room.hub import Hub
from engine_room.offers import Offers
from engine_room.projectors import projectors_of
from tests.local_hub import Repo, local_hub

GGUF = b"GGUF" * 300


def planned(name: str, *files: str, offers: Offers | None = None, repo: str = "me__mine") -> Plan:
    """The plan for a name, on a hub with one repository that has these files."""
    with local_hub(**{repo: Repo(dict.fromkeys(files, GGUF))}) as hub:
        return plan_for(name, offers or Offers(Path("nowhere")), Hub(hub.url))


def paths(plan: Plan) -> list[str]:
    return [file.path for file in plan.files]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("me/mine", Reference("me/mine")),
        (" me/mine ", Reference("me/mine")),
        ("me/mine@v1.0", Reference("me/mine", "v1.0")),
        ("me/mine:Q8_0", Reference("me/mine", quant="Q8_0")),
        ("me/mine@refs/pr/1:sub/a b.gguf", Reference("me/mine", "refs/pr/1", "sub/a b.gguf")),
        ("https://huggingface.co/me/mine", Reference("me/mine")),
        ("hf.co/me/mine:Q5_K_M", Reference("me/mine", quant="Q5_K_M")),
        (
            "https://huggingface.co/me/mine/resolve/main/a%20b.gguf?download=true",
            Reference("me/mine", "main", "a b.gguf"),
        ),
        ("https://huggingface.co/me/mine/blob/v2/x/y.gguf", Reference("me/mine", "v2", "x/y.gguf")),
        ("https://huggingface.co/me/mine/tree/v2", Reference("me/mine", "v2")),
        ("hf://me/mine/y.gguf", Reference("me/mine", file="y.gguf")),
        ("http://hub.lan:80/me/mine", Reference("me/mine")),
        ("mine", None),
        ("", None),
        ("a/b/c", None),
        ("C:\\models\\x.gguf", None),
    ],
)
def test_a_repository_is_named_in_every_usual_way(name: str, expected: Reference | None) -> None:
    assert parsed(name, "http://hub.lan:80") == expected


@pytest.mark.parametrize(
    "name",
    [
        "https://evil.example/me/mine/resolve/main/x.gguf",
        "https://huggingface.co.evil.example/me/mine",
        "https://[",
        "https://huggingface.co/",
        "https://huggingface.co/mine",
        "file:///etc/passwd",
    ],
)
def test_an_address_elsewhere_or_of_no_repository_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed(name, "https://huggingface.co")
    assert repr(name) in refused.value.message


def test_of_several_quantisations_the_preferred_one_is_taken_and_said() -> None:
    plan = planned("me/mine", "m-F16.gguf", "m.q8_0.gguf", "m-Q4_K_M.gguf", "imatrix-m-F16.gguf")
    assert paths(plan) == ["m-Q4_K_M.gguf"]
    assert plan.id == "m-Q4_K_M"
    assert plan.note == "Q4_K_M of F16, Q4_K_M, Q8_0"
    assert plan.licence == "apache-2.0"
    assert paths(planned("me/mine", "m-F16.gguf", "m-q5_k_m.gguf")) == ["m-q5_k_m.gguf"]
    assert paths(planned("me/mine", "m-UD-Q2_K_XL.gguf", "m-UD-Q8_0.gguf")) == ["m-UD-Q8_0.gguf"]


def test_a_quantisation_or_a_file_asked_for_is_taken_or_refused_with_those_there_are() -> None:
    files = ("m-F16.gguf", "m.q8_0.gguf", "x/y.gguf")
    assert paths(planned("me/mine:q8_0", *files)) == ["m.q8_0.gguf"]
    assert paths(planned("me/mine:x/y.gguf", *files)) == ["x/y.gguf"]
    with pytest.raises(RepositoryNotFound, match="no quantisation 'Q3_K_M'; there are: F16, Q8_0"):
        planned("me/mine:Q3_K_M", *files)
    with pytest.raises(
        RepositoryNotFound, match=r"no file 'M\.Q8\.gguf' .* there are: m\.q8_0\.gguf, m-F16"
    ):
        planned("me/mine:M.Q8.gguf", *files)


def test_of_files_whose_names_tell_nothing_none_is_taken_unless_it_is_the_only_one() -> None:
    assert paths(planned("me/mine", "model.gguf", "README.md")) == ["model.gguf"]
    with pytest.raises(InvalidRequest, match=r"choose one with me/mine:FILE: a\.gguf, b\.gguf"):
        planned("me/mine", "a.gguf", "b.gguf")


def test_a_split_model_is_all_its_parts_or_nothing() -> None:
    parts = [f"Q4_K_M/m-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    plan = planned("me/mine", *reversed(parts))
    assert paths(plan) == parts
    assert plan.id == "m-Q4_K_M-00001-of-00003"
    assert plan.size_bytes == 3 * len(GGUF)
    with pytest.raises(BadHub, match=r"parts are missing on the hub: .*00002-of-00003"):
        planned("me/mine", parts[0], parts[2])


@pytest.mark.parametrize(
    "path",
    [
        *("../x-Q4_K_M.gguf", "a/../../x-Q4_K_M.gguf", "/etc/x-Q4_K_M.gguf", "..\\x-Q4_K_M.gguf"),
        *("C:x-Q4_K_M.gguf", ".x-Q4_K_M.gguf", "x\n-Q4_K_M.gguf", f"{'x' * 250}-Q4_K_M.gguf"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(BadHub, match="may not be written here"):
        planned("me/mine", path)


MODEL = "Seer-7B-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("files", "projector", "saved_as"),
    [
        (["mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf", "-F16"),
        (["mmproj-F32.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf", "-Q8_0"),
        (["mmproj-model-f32.gguf"], "mmproj-model-f32.gguf", "-F32"),
        (["sub/mmproj.gguf", "mmproj-model-fp16.gguf"], "mmproj-model-fp16.gguf", "-F16"),
        (["mmproj.gguf"], "mmproj.gguf", ""),
        (["Seer-7B.mmproj-f32.gguf", "mmproj-F16.gguf"], "Seer-7B.mmproj-f32.gguf", "-F32"),
        (["mmproj-SigLIP-f16.gguf"], "mmproj-SigLIP-f16.gguf", "-F16"),
    ],
)
def test_a_model_that_sees_comes_with_its_projector_under_its_own_name(
    files: list[str], projector: str, saved_as: str
) -> None:
    for name in ("me/mine", f"me/mine:{MODEL}", "me/mine:Q4_K_M"):
        plan = planned(name, *files, MODEL, "Seer-7B-Q8_0.gguf")
        assert paths(plan) == [MODEL, projector]
        assert plan.projector
        assert plan.projector.name == f"mmproj-Seer-7B{saved_as}.gguf"
        assert plan.size_bytes == 2 * len(GGUF)
        ours = Path(MODEL)
        assert projectors_of([ours, Path("x.gguf")], [Path(plan.projector.name)]).keys() == {ours}


def test_a_projector_of_another_model_is_not_fetched() -> None:
    files = (MODEL, "Other-3B-Q8_0.gguf", "mmproj-Other-3B-f16.gguf", "mmproj-notes.txt")
    assert planned("me/mine:Q4_K_M", *files).projector is None
    other = planned("me/mine:Q8_0", *files)
    assert paths(other) == ["Other-3B-Q8_0.gguf", "mmproj-Other-3B-f16.gguf"]
    assert paths(planned("me/mine:mmproj-Other-3B-f16.gguf", *files)) == [
        "mmproj-Other-3B-f16.gguf"
    ]


def test_an_offer_names_its_projector_of_which_another_takes_the_place_only_without_a_hash(
    tmp_path: Path,
) -> None:
    text = (
        '[[model]]\nid = "seer-7b"\nkind = "chat"\nrepository = "me/mine"\n'
        f'files = ["{MODEL}"]\nmmproj = "eyes-q8_0.gguf"\n'
    )
    pinned = f'sha256 = {{ "eyes-q8_0.gguf" = "{"ab" * 32}" }}\n'
    (tmp_path / "offers.toml").write_text(text + pinned)
    offers = Offers(tmp_path)
    plan = planned("seer-7b", MODEL, "mmproj-F16.gguf", "eyes-q8_0.gguf", offers=offers)
    assert paths(plan) == [MODEL, "eyes-q8_0.gguf"]
    assert plan.projector
    assert plan.projector.name == "mmproj-Seer-7B-Q8_0.gguf"
    assert plan.projector.sha256 == "ab" * 32
    with pytest.raises(RepositoryNotFound, match=r"no file 'eyes-q8_0\.gguf'.*mmproj-F16"):
        planned("seer-7b", MODEL, "mmproj-F16.gguf", offers=offers)
    (tmp_path / "offers.toml").write_text(text)  # which names no content
    moved = planned("seer-7b", MODEL, "mmproj-F16.gguf", offers=Offers(tmp_path))
    assert paths(moved) == [MODEL, "mmproj-F16.gguf"]
    with pytest.raises(RepositoryNotFound, match=r"no file 'eyes-q8_0\.gguf'"):
        planned("seer-7b", MODEL, offers=Offers(tmp_path))


def test_an_offer_is_what_it_says_with_its_folder_and_its_own_hash(tmp_path: Path) -> None:
    (tmp_path / "offers.toml").write_text(
        '[[model]]\nid = "mine"\nkind = "chat"\nrepository = "me/mine"\nfiles = ["m.gguf"]\n'
        f'sha256 = {{ "m.gguf" = "{"ab" * 32}" }}\nlicence = "ours"\n'
    )
    plan = planned("mine", "m.gguf", "n-Q4_K_M.gguf", offers=Offers(tmp_path))
    assert (plan.id, paths(plan), plan.files[0].sha256) == ("m", ["m.gguf"], "ab" * 32)
    assert plan.licence == "ours"
    assert paths(planned("ME/mine", "m.gguf", "n-Q4_K_M.gguf", offers=Offers(tmp_path))) == [
        "m.gguf"
    ]
    whisper = planned(
        "small",
        *("model.bin", "config.json", "tokenizer.json", "vocabulary.txt", "README.md"),
        repo="Systran__faster-whisper-small",
    )
    assert whisper.folder == whisper.id == "faster-whisper-small"
    assert paths(whisper) == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
    with pytest.raises(RepositoryNotFound, match=r"no file 'model\.pth'"):
        planned("xtts_v2", "config.json", "vocab.json", repo="coqui__XTTS-v2")


def test_an_offered_file_that_has_another_name_by_now_is_taken_if_it_is_surely_meant(
    tmp_path: Path,
) -> None:
    offer = (
        '[[model]]\nid = "mine-7b"\nkind = "chat"\nrepository = "me/mine"\n'
        'files = ["mine-7b-q4_k_m.gguf"]\nquantisation = "Q4_K_M"\n'
    )
    (tmp_path / "offers.toml").write_text(offer)
    offers = Offers(tmp_path)
    parts = [f"mine-7b-q4_k_m-0000{number}-of-00002.gguf" for number in (1, 2)]
    plan = planned("mine-7b", *parts, "mine-7b-q8_0.gguf", offers=offers)
    assert paths(plan) == parts
    assert plan.note == f"{parts[0]}, as there is no mine-7b-q4_k_m.gguf; both Q4_K_M"
    assert paths(planned("mine-7b", "Mine-7B.Q4_K_M.gguf", offers=offers)) == [
        "Mine-7B.Q4_K_M.gguf"
    ]
    for others in (
        ["mine-7b-q8_0.gguf"],  # another quantisation
        ["other-7b-q4_k_m.gguf"],  # would not answer to the name
        ["mine-7b-q4_k_m.v1.gguf", "mine-7b.q4_k_m.gguf", "mine-7b_q4_k_m.gguf"],  # which one?
    ):
        with pytest.raises(
            RepositoryNotFound, match=rf"no file 'mine-7b-q4_k_m\.gguf'.*{others[0]}"
        ):
            planned("mine-7b", *others, offers=offers)
    (tmp_path / "offers.toml").write_text(
        f'{offer}sha256 = {{ "mine-7b-q4_k_m.gguf" = "{"ab" * 32}" }}'
    )
    with pytest.raises(RepositoryNotFound):  # its content is known, and that is another file
        planned("mine-7b", "mine-7b.q4_k_m.gguf", offers=Offers(tmp_path))


def test_any_whisper_repository_is_a_folder() -> None:
    plan = planned("me/mine", "model.bin", "config.json", "vocabulary.json", "x.py")
    assert (plan.folder, len(plan.files)) == ("mine", 3)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("nothing", NotFound, "`models list`"),
        ("me/nothing", RepositoryNotFound, "HF_TOKEN"),
        ("me/..", InvalidRequest, "names no repository"),
        ("me/mine", RepositoryNotFound, r"no file '\*\.gguf'"),
    ],
)
def test_what_is_not_there_is_said(name: str, kind: type[ApiError], said: str) -> None:
    with pytest.raises(kind, match=said):
        planned(name, "README.md")


def test_where_the_list_tells_no_hash_the_file_itself_is_asked() -> None:
    with local_hub(
        me__mine=Repo({"m.gguf": GGUF}), me__terse=Repo({"m.gguf": GGUF}, is_terse=True)
    ) as hub:
        offers = Offers(Path("nowhere"))
        terse = plan_for("me/terse", offers, Hub(hub.url))
        assert any(method == "HEAD" for method, *_ in hub.asked)
        assert terse.files == plan_for("me/mine", offers, Hub(hub.url)).files
