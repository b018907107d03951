"""Models are found by their names: those that came along, those dropped in, those clients ask for."""

import os
from pathlib import Path
from typing import Any

import gguf
import pytest

from engine_room.catalogue import (
    EMBEDDING_NAMES,
    Catalogue,
)
from engine_room.errors import AmbiguousModel, ModelNotFound, NotFound, Unavailable, WrongModel
from engine_room.jobs import Status
from engine_room.model_settings import Loading
from engine_room.settings import Settings
from tests.embedding_models import write_bert, write_causal


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def catalogue(folder: Path, **changes: Any) -> Catalogue:
    return Catalogue(Settings(_env_file=None, models_dir=folder, **changes))


def drop(folder: Path, *names: str) -> Catalogue:
    """A catalogue of a folder with these files."""
    for name in names:
        (folder / name).write_bytes(b"GGUF")
    return catalogue(folder)


def ids(found: Catalogue) -> list[str]:
    return [file.id for file in found.chat_files()]


def test_the_bundled_model_is_there_without_a_models_folder(tmp_path: Path) -> None:
    found = catalogue(tmp_path / "none").chat("")
    assert found.id == "smollm2-135m-instruct"
    assert found.path.read_bytes()[:4] == b"GGUF"


def test_a_dropped_file_is_there_at_once_under_its_file_name(models: Path) -> None:
    found = catalogue(models)
    with pytest.raises(ModelNotFound):
        found.chat("My-Model")
    drop(models, "My-Model.gguf")
    assert found.chat("My-Model").path == models / "My-Model.gguf"
    assert [model.id for model in found.listed()][:2] == ["My-Model", "smollm2-135m-instruct"]


@pytest.mark.parametrize("name", ["My-Model", "my-model", "MY-MODEL.GGUF", "My-Model.gguf"])
def test_a_model_answers_with_and_without_suffix_in_any_case(models: Path, name: str) -> None:
    assert drop(models, "My-Model.gguf").chat(name).id == "My-Model"


@pytest.mark.parametrize(
    "file",
    [
        "mistral-7b-instruct-v0.2.Q4_K_M.gguf",
        "Mistral-7B-Instruct-v0.2-Q8_0.gguf",
        "mistral-7b-instruct-v0.2-IQ4_NL.gguf",
        "mistral-7b-instruct-v0.2-UD-Q2_K_XL.gguf",
        "mistral-7b-instruct-v0.2_f16.gguf",
        "mistral-7b-instruct-v0.2-BF16.gguf",
        "mistral-7b-instruct-v0.2-MXFP4.gguf",
        "mistral-7b-instruct-v0.2-00001-of-00003.gguf",
        "mistral-7b-instruct-v0.2-Q4_0-00001-of-00002.gguf",
    ],
)
def test_a_name_is_answered_by_its_own_file_of_any_quantisation(models: Path, file: str) -> None:
    found = drop(models, file)
    assert found.chat("mistral-7b-instruct-v0.2").path == models / file
    assert found.find("mistral-7b-instruct-v0.2").root == file.removesuffix(".gguf")


@pytest.mark.parametrize(
    "file", ["gpt-4o-Q4_0.gguf", "gpt-4-turbo.gguf", "gpt-4.gguf.part", "my-gpt-4.gguf"]
)
def test_a_longer_name_is_another_model(models: Path, file: str) -> None:
    assert drop(models, file).chat("gpt-4").id == "smollm2-135m-instruct"


def test_the_exact_file_wins_over_a_quantised_one(models: Path) -> None:
    found = drop(models, "gpt-4-Q4_0.gguf", "gpt-4.gguf")
    assert found.chat("gpt-4").id == "gpt-4"


def test_a_split_model_is_one_model_under_its_first_part(models: Path) -> None:
    found = drop(models, *(f"big-Q4_0-0000{part}-of-00003.gguf" for part in (1, 2, 3)))
    assert ids(found) == ["big-Q4_0-00001-of-00003", "smollm2-135m-instruct"]
    assert found.chat("big-Q4_0").path == models / "big-Q4_0-00001-of-00003.gguf"
    assert found.chat("big").path == models / "big-Q4_0-00001-of-00003.gguf"


def test_what_is_no_chat_model_is_not_listed(models: Path, tmp_path: Path) -> None:
    (models / "folder.gguf").mkdir()
    (models / "dangling.gguf").symlink_to(tmp_path / "gone")
    found = drop(models, "mmproj-model-f16.gguf", ".hidden.gguf", "notes.txt", "a.safetensors")
    assert ids(found) == ["smollm2-135m-instruct"]
    assert len(found.listed()) == 5


def test_a_linked_file_is_a_model(models: Path, tmp_path: Path) -> None:
    drop(tmp_path, "blob")
    (models / "linked.gguf").symlink_to(tmp_path / "blob")
    assert ids(catalogue(models))[0] == "linked"


def test_no_id_is_listed_twice(models: Path) -> None:
    found = drop(models, "smollm2-135m-instruct.gguf", "gpt-4.gguf")
    listed = [model.id for model in found.everything()]
    assert len(listed) == len(set(listed))
    assert found.chat("").path == models / "smollm2-135m-instruct.gguf"


def test_the_listing_says_which_model_answers_for_a_name(models: Path) -> None:
    roots = {model.id: model.root for model in drop(models, "gpt-4.gguf").listed()}
    assert roots == {
        "gpt-4": "gpt-4",
        "smollm2-135m-instruct": "smollm2-135m-instruct",
        "mistral-7b-instruct-v0.2": "smollm2-135m-instruct",
        "qwen2.5-coder-7b-instruct": "smollm2-135m-instruct",
        "gpt-3.5-turbo": "smollm2-135m-instruct",
    }


@pytest.mark.parametrize("name", ["gpt-4", "GPT-4", "gpt-4o-mini", "gpt-3.5-turbo", "gpt-5", ""])
def test_the_names_that_clients_default_to_always_answer(models: Path, name: str) -> None:
    assert catalogue(models).chat(name).id == "smollm2-135m-instruct"
    if name:
        assert catalogue(models).find(name).id == name.lower()


@pytest.mark.parametrize("name", ["gpt-9", "smollm2", "whisper-1x", "../secret", "a/b:c", "é\0"])
def test_an_unknown_name_is_not_found_and_the_message_names_it_and_the_others(
    models: Path, name: str
) -> None:
    for look_up in (catalogue(models).chat, catalogue(models).find):
        with pytest.raises(ModelNotFound) as caught:
            look_up(name)
        assert repr(name) in caught.value.message
        assert "smollm2-135m-instruct" in caught.value.message


def test_a_chosen_default_answers_for_the_names_without_a_file(models: Path) -> None:
    drop(models, "chosen-Q4_0.gguf")
    found = catalogue(models, chat_model="chosen")
    assert found.chat("").id == "chosen-Q4_0"
    assert found.chat("gpt-4").id == "chosen-Q4_0"
    assert found.chat("smollm2-135m-instruct").id == "smollm2-135m-instruct"


def test_a_chosen_default_that_is_not_there_is_said_with_what_mends_it(models: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        catalogue(models, chat_model="chosen").chat("gpt-4")
    assert caught.value.reason == (
        "The default chat model 'chosen' (setting CHAT_MODEL) is not there."
    )
    assert str(models) in (caught.value.mend or "")


def test_models_that_are_there_are_listed_though_the_chosen_default_is_not(models: Path) -> None:
    drop(models, "other.gguf")
    found = catalogue(models, chat_model="chosen")
    assert [model.id for model in found.listed()] == ["other", "smollm2-135m-instruct"]
    assert found.find("other").id == "other"


def test_chat_ids_are_not_hidden_by_pickers_and_audio_ids_are(models: Path) -> None:
    words = ("tts", "whisper", "embedding", "ada", "transcribe")
    for model in catalogue(models).everything():
        assert any(word in model.id for word in words) == (model.type != "chat")


def test_everything_has_the_speech_and_transcription_models_too(models: Path) -> None:
    types = {model.id: (model.type, model.root) for model in catalogue(models).everything()}
    assert types["tts-1"] == ("speech", "hibari-tts")
    assert types["gpt-4o-mini-tts"] == ("speech", "hibari-tts")
    assert types["whisper-1"] == ("transcription", "faster-whisper-base")
    assert [model.id for model in catalogue(models).speech_models()] == [
        "tts-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
    ]


def test_a_model_entry_has_what_clients_read(models: Path) -> None:
    for model in catalogue(models).everything():
        assert model.object == "model"
        assert model.created > 1_000_000_000
        assert model.owned_by == "local"


def test_without_any_package_nothing_is_listed_and_the_reason_is_said(
    models: Path, packages: Path
) -> None:
    found = catalogue(models)
    assert found.everything() == []
    with pytest.raises(Unavailable, match=r"not installed.*pip install -r requirements.txt"):
        found.chat("")
    with pytest.raises(Unavailable, match=r"not installed.*pip install -r requirements.txt"):
        found.whisper.ready(found.whisper.bundled)


@pytest.fixture
def embedding(models: Path) -> Path:
    """The models folder with an embedding model in it."""
    write_bert(models / "nomic-embed-text-v1.5.Q8_0.gguf")
    return models


def test_an_embedding_model_is_no_chat_model_and_listed_with_everything(embedding: Path) -> None:
    found = catalogue(embedding)
    assert ids(found) == ["smollm2-135m-instruct"]
    assert "nomic-embed-text-v1.5.Q8_0" not in [model.id for model in found.listed()]
    roots = {model.id: model.root for model in found.everything() if model.type == "embedding"}
    assert roots == dict.fromkeys(
        ("nomic-embed-text-v1.5.Q8_0", *EMBEDDING_NAMES), "nomic-embed-text-v1.5.Q8_0"
    )


@pytest.mark.parametrize(
    "name",
    ["nomic-embed-text-v1.5", "Nomic-Embed-Text-v1.5.Q8_0.gguf", "", *EMBEDDING_NAMES],
)
def test_the_only_embedding_model_answers_by_its_names_and_openais(
    embedding: Path, name: str
) -> None:
    found = catalogue(embedding)
    assert found.embedding(name).id == "nomic-embed-text-v1.5.Q8_0"
    if name:
        assert found.find(name).type == "embedding"


def test_a_file_named_as_openais_model_is_that_model(embedding: Path) -> None:
    write_bert(embedding / "text-embedding-3-small.gguf")
    found = catalogue(embedding)
    assert found.embedding("text-embedding-3-small").id == "text-embedding-3-small"
    listed = [model.id for model in found.everything()]
    assert len(listed) == len(set(listed))


def test_without_an_embedding_model_the_message_says_what_to_do(models: Path) -> None:
    for name in ("text-embedding-3-small", "", "nomic-embed-text"):
        with pytest.raises(
            NotFound, match=r"no embedding model.*nomic-embed-text.*models"
        ) as caught:
            catalogue(models).embedding(name)
        assert caught.value.code == "model_not_found"
        assert str(models) in caught.value.message
    for state in (Status("loading"), Status("ready")):
        status = catalogue(models).embedding_status(state)
        assert status.state == "unavailable"
        assert str(models) in (status.mend or "")


def test_of_several_embedding_models_one_is_chosen_by_name_or_by_the_setting(
    embedding: Path,
) -> None:
    write_causal(embedding / "Qwen3-Embedding-0.6B-Q8_0.gguf")
    found = catalogue(embedding)
    assert found.embedding("qwen3-embedding-0.6b").id == "Qwen3-Embedding-0.6B-Q8_0"
    with pytest.raises(NotFound, match=r"Qwen3.*nomic.*EMBEDDING_MODEL"):
        found.embedding("text-embedding-3-small")
    with pytest.raises(NotFound, match=r"Qwen3.*nomic.*EMBEDDING_MODEL"):
        found.find("text-embedding-3-small")
    with pytest.raises(ModelNotFound, match=r"'bge-m3'.*Qwen3"):
        found.embedding("bge-m3")
    assert not {model.id for model in found.everything()} & set(EMBEDDING_NAMES)
    chosen = catalogue(embedding, embedding_model="qwen3-embedding-0.6b")
    assert chosen.embedding("text-embedding-3-small").id == "Qwen3-Embedding-0.6B-Q8_0"
    missing = catalogue(embedding, embedding_model="bge-m3")
    with pytest.raises(Unavailable, match=r"EMBEDDING_MODEL names 'bge-m3'"):
        missing.embedding("text-embedding-3-small")
    assert missing.everything()


def test_a_model_asked_for_what_it_cannot_do_is_named_with_what_can(embedding: Path) -> None:
    found = catalogue(embedding)
    with pytest.raises(WrongModel, match=r"'nomic-embed-text-v1.5' is an embedding.*/v1/embedd"):
        found.chat("nomic-embed-text-v1.5")
    for name in ("smollm2-135m-instruct", "gpt-4"):
        with pytest.raises(WrongModel, match=rf"'{name}' is a chat model.*nomic"):
            found.embedding(name)
    (embedding / "nomic-embed-text-v1.5.Q8_0.gguf").unlink()
    with pytest.raises(WrongModel, match=r"is a chat model.*such as nomic"):
        found.embedding("gpt-4")


def test_a_reranking_model_is_neither_for_chat_nor_for_embeddings(models: Path) -> None:
    write_bert(models / "bge-reranker.gguf", gguf.PoolingType.RANK)
    assert ids(catalogue(models)) == ["smollm2-135m-instruct"]
    assert catalogue(models).embedding_files() == []


def test_a_model_that_can_be_fetched_is_said_so_with_the_command(tmp_path: Path) -> None:
    catalogue = Catalogue(Settings(_env_file=None, models_dir=tmp_path, chat_model=""))
    with pytest.raises(
        ModelNotFound, match=r"It can be fetched with: .* models download qwen3-8b$"
    ):
        catalogue.chat("qwen3-8b")
    for name in ("xtts_v2", "gpt-9"):
        with pytest.raises(ModelNotFound) as not_there:
            catalogue.chat(name)
        assert "fetched" not in not_there.value.message
    with pytest.raises(NotFound, match="models download nomic-embed-text"):
        catalogue.embedding("")


# ---------------------------------------------------------------- what is set for single models


def with_settings(folder: Path, text: str, **changes: Any) -> Catalogue:
    (folder / "settings.toml").write_text(text, "utf-8")
    return catalogue(folder, **changes)


def test_a_model_answers_to_its_aliases_before_all_names_but_ids(models: Path) -> None:
    drop(models, "mistral-7b-instruct-v0.2-Q4_0.gguf", "other.gguf")
    names = ["GPT-4", "gpt-4o", "Tutor", "mistral-7b-instruct-v0.2"]
    found = with_settings(models, f'["other"]\naliases = {names}\n')
    for name in (*names, "gpt-4", "tutor", "TUTOR.gguf"):
        assert found.chat(name).id == "other"
        assert found.find(name).root == "other"
    roots = {model.id: model.root for model in found.listed()}
    assert {name: roots[name] for name in names} == dict.fromkeys(names, "other")
    assert roots["gpt-3.5-turbo"] == "smollm2-135m-instruct"
    listed = [model.id.lower() for model in found.everything()]
    assert len(listed) == len(set(listed))
    assert found.chat("mistral-7b-instruct-v0.2-q4_0").id == "mistral-7b-instruct-v0.2-Q4_0"


def test_an_alias_may_be_the_default(models: Path) -> None:
    drop(models, "other.gguf")
    found = with_settings(models, '["other"]\naliases = ["mine"]\n', chat_model="mine")
    assert found.chat("gpt-4").id == "other"


def test_an_alias_that_is_the_name_of_any_model_is_refused(embedding: Path) -> None:
    for name in ("nomic-embed-text-v1.5.Q8_0", "whisper-1", "tts-1", "text-embedding-3-small"):
        found = with_settings(embedding, f'["smollm2-135m-instruct"]\naliases = ["{name}"]\n')
        with pytest.raises(Unavailable, match=rf"line 2, .*'{name}' is a model's own name"):
            found.chat("")


def test_files_are_another_model_in_memory_only_if_they_are_loaded_otherwise(models: Path) -> None:
    drop(models, "m.gguf")
    bare = catalogue(models).chat("m")
    same = 'system_prompt = "Hi"\naliases = ["x"]\nsampling.top_k = 3\n'
    assert with_settings(models, f'["m"]\n{same}').chat("m") == bare
    for loading in (
        "context_tokens = 99",
        "gpu_layers = 0",
        'kv_type = "f16"',
        'template = "{{1}}"',
    ):
        other = with_settings(models, f'["m"]\n{loading}\n').chat("m")
        assert other != bare
        assert other.loading != Loading()
        assert len({other, bare}) == 2


def test_a_file_that_was_replaced_is_another_model_in_memory(embedding: Path) -> None:
    (embedding / "mine.gguf").write_bytes(b"")
    (embedding / "mmproj-mine.gguf").write_bytes(b"")
    found = catalogue(embedding)
    first, embedder = found.chat("mine"), found.embedding_files()[0]
    assert found.chat("mine") == first
    (embedding / "mine.gguf").write_bytes(b"GGUF")
    second = found.chat("mine")
    assert second != first
    (embedding / "mmproj-mine.gguf").write_bytes(b"GGUF")
    assert found.chat("mine") != second
    os.utime(embedder.path, (1, 1))
    assert found.embedding_files()[0] != embedder


def test_while_the_settings_are_wrong_no_model_answers_and_all_say_why(models: Path) -> None:
    found = with_settings(models, '["m"]\ntypo = 1\n')
    drop(models, "m.gguf")
    for name in ("", "m", "gpt-4", "nothing"):
        with pytest.raises(Unavailable, match=r'settings.toml, line 2, \["m"\] typo: no such key'):
            found.chat(name)
    status = found.chat_status(Status("ready"))
    assert status.state == "unavailable"
    assert "line 2" in (status.reason or "")
    assert status.mend == "Mend that; it counts from the next request on."
    assert [model.id for model in found.listed()] == ["m", "smollm2-135m-instruct"]
    with_settings(models, "")
    assert found.chat("m").id == "m"
    assert found.chat_status(Status("ready")) == Status("ready")


def test_of_names_that_differ_in_case_only_the_exact_one_answers(models: Path) -> None:
    found = drop(models, "Both.gguf", "both.gguf", "one.gguf", "one.GGUF")
    assert found.chat("Both").path == models / "Both.gguf"
    assert found.chat("both").path == models / "both.gguf"
    assert found.chat("one.GGUF").path == models / "one.GGUF"
    with pytest.raises(AmbiguousModel, match=r"'BOTH' may be any of: Both.gguf, both.gguf"):
        found.chat("BOTH")
    with pytest.raises(AmbiguousModel, match=r"'one' may be any of: one.GGUF, one.gguf"):
        found.chat("one")
    listed = [model.id for model in found.listed()]
    assert listed[:4] == ["Both", "both", "one", "smollm2-135m-instruct"]
    settled = with_settings(models, '["both"]\ngpu_layers = 1\n')
    assert settled.chat("both").loading.gpu_layers == 1
    assert settled.chat("Both").loading.gpu_layers is None


def test_a_default_that_could_be_two_is_the_settings_fault(models: Path) -> None:
    drop(models, "Both.gguf", "both.gguf")
    found = catalogue(models, chat_model="BOTH")
    with pytest.raises(
        Unavailable, match=r"CHAT_MODEL.*'BOTH' may be any of: Both.gguf, both.gguf"
    ):
        found.chat("")
    assert found.chat("both.gguf").id == "both"
    assert [model.id for model in found.listed()][:2] == ["Both", "both"]
