"""Side by side with the library on a tiny model: the same voices, the same tokens, the same sound.

With XTTS_MODEL_DIR=folder the same runs on a real model: in minutes, with 20 GB of disk for its copies.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.encoding import Sound
from engine_room.errors import Unavailable
from engine_room.folders import sha256_of
from engine_room.xtts.conversion import GPT_FILE, VOCODER_FILE, OnnxVocoder
from engine_room.xtts.folder import XttsFolder, xtts_folders
from engine_room.xtts.gpt import Conditioning, Gpt, Span
from engine_room.xtts.languages import LANGUAGES
from engine_room.xtts.numbers import readable
from engine_room.xtts.sampling import AudioSampler, AudioSampling
from engine_room.xtts.utterance import Utterance, latents_and_logits
from engine_room.xtts.vocoder import VocoderStream
from tests.permissions import read_only
from tests.xtts_models import drop_weight, read_checkpoint

pytest.importorskip("TTS", reason="voice cloning is not installed")
pytestmark = [
    pytest.mark.slow,
    # What transformers and torch say of the library's older ways is not about us.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TEXT = "hello there, this is a test of it."
LIKELIEST = AudioSampling(temperature=0, repetition_penalty=2.0)


@pytest.fixture(scope="module")
def coqui(xtts_folder: XttsFolder) -> Any:
    from engine_room.xtts.coqui import CoquiXtts

    return CoquiXtts(xtts_folder)


@pytest.fixture(scope="module")
def library(xtts_folder: XttsFolder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model as the library loads it, from a copy, for it may write to it."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    folder = shutil.copytree(xtts_folder.path, tmp_path_factory.mktemp("library") / "model")
    config = XttsConfig()
    config.load_json(folder / "config.json")
    model = Xtts(config)
    model.load_checkpoint(config, checkpoint_dir=folder, eval=True)
    return model


@pytest.fixture(scope="module")
def converted(coqui: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    coqui.write_gpt(folder / GPT_FILE, "f32", lambda layer: None)
    coqui.write_vocoder(folder / VOCODER_FILE)
    return folder


@pytest.fixture(scope="module", params=["llama", "torch"])
def gpt(request: pytest.FixtureRequest, converted: Path, library: Any) -> Iterator[Gpt]:
    from engine_room.xtts.gpt_llama import LlamaGpt
    from engine_room.xtts.gpt_torch import TorchGpt

    made: Gpt
    if request.param == "llama":
        made = LlamaGpt(converted / GPT_FILE, num_sequences=4, num_positions=2400)
    else:
        made = TorchGpt(library.gpt.gpt, num_sequences=4, num_positions=2400)
    yield made
    made.close()


def speaker(coqui: Any) -> Conditioning:
    speakers: dict[str, Conditioning] = coqui.speakers()
    if not speakers:
        pytest.skip("the model in XTTS_MODEL_DIR has no studio speakers")
    return next(iter(speakers.values()))


def spoken(gpt: Gpt, coqui: Any, num_tokens: int, seq_id: int = 0) -> Any:
    """The latents of the text at temperature 0."""
    tables = coqui.tables()
    tokens = coqui.text_tokens(TEXT, "en")
    sampler = AudioSampler(LIKELIEST, 0, tables.start_audio)
    utterance = Utterance(tables, speaker(coqui), tokens, sampler, num_tokens)
    utterance.seq_id = seq_id
    while not utterance.is_over:
        latents, logits = latents_and_logits(tables, gpt.decode([utterance.span()], 1))
        utterance.accept(latents[0], logits[0])
    gpt.forget(seq_id)
    return utterance.take()


def librarys(library: Any, coqui: Any, num_tokens: int) -> dict[str, Any]:
    import torch

    library.gpt.max_gen_mel_tokens = num_tokens
    voice = speaker(coqui)
    answer: dict[str, Any] = library.inference(
        TEXT,
        "en",
        torch.from_numpy(voice.latents)[None],
        torch.from_numpy(voice.speaker).reshape(1, -1, 1),
        do_sample=False,
        repetition_penalty=LIKELIEST.repetition_penalty,
    )
    return answer


def test_the_same_tokens_are_drawn_at_temperature_0_and_the_latents_are_the_same(
    gpt: Gpt, coqui: Any, library: Any
) -> None:
    wanted = librarys(library, coqui, 30)["gpt_latents"][0]
    latents = spoken(gpt, coqui, 30)
    assert latents.shape == wanted.shape  # the model ends by itself, at the same token
    assert np.abs(latents - wanted).max() < 1e-3
    lengths = np.linalg.norm(latents, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((latents * wanted).sum(1) / lengths).min() > 0.99999


@pytest.mark.parametrize(
    "cuts", [[24], [10, 24], [10, 18, 30, 42], [1], [2, 3], list(range(1, 20))]
)
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_sound_in_pieces_is_the_librarys_of_the_whole_sentence(
    coqui: Any, library: Any, converted: Path, form: str, cuts: list[int]
) -> None:
    import torch

    network = OnnxVocoder(converted / VOCODER_FILE, 1) if form == "onnx" else coqui.vocode
    voice = speaker(coqui)
    width = coqui.tables().audio.shape[1]
    latents = np.random.default_rng(1).standard_normal((cuts[-1], width), np.float32)
    with torch.inference_mode():
        wanted = library.hifigan_decoder(
            torch.from_numpy(latents)[None], g=torch.from_numpy(voice.speaker).reshape(1, -1, 1)
        )
    stream = VocoderStream(network, voice.speaker, coqui.stretches)
    parts = [
        stream.add(latents[begin:end], is_last=end == cuts[-1])()
        for begin, end in itertools.pairwise([0, *cuts])
    ]
    sound = np.concatenate(parts)
    assert sound.shape == wanted.reshape(-1).shape
    assert np.abs(sound - wanted.reshape(-1).numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("dtype", "cosine"), [("float32", 0.999999), ("float16", 0.99999), ("bfloat16", 0.9999)]
)
def test_a_gpus_number_types_give_the_same_tokens_and_all_but_the_same_latents(
    xtts_folder: XttsFolder, coqui: Any, library: Any, dtype: str, cosine: float
) -> None:
    from engine_room.xtts.coqui import CoquiXtts

    wanted = librarys(library, coqui, 30)["gpt_latents"][0]
    whole = CoquiXtts(xtts_folder, with_gpt=True, gpt_dtype=dtype)
    latents = spoken(whole.torch_gpt(4, 2400), whole, 30)
    assert latents.shape == wanted.shape
    lengths = np.linalg.norm(latents, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((latents * wanted).sum(1) / lengths).min() > cosine


def test_what_a_number_type_cannot_hold_is_said(xtts_folder: XttsFolder) -> None:
    from engine_room.xtts.coqui import CoquiXtts

    gpt = CoquiXtts(xtts_folder, with_gpt=True, gpt_dtype="float16").torch_gpt(1, 99)
    huge = np.full((3, 64), 1e6, np.float32)
    with pytest.raises(RuntimeError, match=r"float16 holds; set XTTS_DTYPE=float32"):
        gpt.decode([Span(0, 0, huge)], 1)


def test_the_device_and_the_number_type_are_the_best_there_are_or_it_is_said() -> None:
    import torch

    from engine_room.xtts.coqui import best_device, best_dtype

    if not torch.cuda.is_available():
        assert best_device("auto") == "cpu"
    for device in ("cuda:99", "mps"):
        if device != "mps" or not torch.backends.mps.is_available():
            with pytest.raises(Unavailable, match=f"There is no {device} device"):
                best_device(device)
    devices = ("cpu", "mps", "cuda", "cuda:1")
    found = [best_dtype("auto", device) for device in devices]
    assert found == ["float32", "float32", "float16", "float16"]
    assert best_dtype("bfloat16", "mps") == "bfloat16"
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="bfloat16"):
            best_dtype("bfloat16", "cuda")


def test_sentences_in_one_batch_and_after_a_shared_voice_are_as_if_alone(
    gpt: Gpt, coqui: Any
) -> None:
    alone = spoken(gpt, coqui, 12)
    tables, voice = coqui.tables(), speaker(coqui)
    num_shared = len(voice.latents)
    gpt.decode([Span(3, 0, voice.latents)], 1)
    gpt.copy_prefix(3, 1, num_shared)
    tokens = coqui.text_tokens(TEXT, "en")
    utterances = []
    for seq_id in (0, 1):
        sampler = AudioSampler(LIKELIEST, 0, tables.start_audio)
        utterance = Utterance(tables, voice, tokens, sampler, 12)
        utterance.seq_id = seq_id
        utterances.append(utterance)
    utterances[1].skip(num_shared)
    while not utterances[0].is_over:
        hidden = gpt.decode([utterance.span() for utterance in utterances], 1)
        for utterance, latent, logits in zip(
            utterances, *latents_and_logits(tables, hidden), strict=True
        ):
            utterance.accept(latent, logits)
    for utterance in utterances:
        assert np.abs(utterance.take() - alone).max() < 1e-3
        gpt.forget(utterance.seq_id)
    gpt.forget(3)


def test_a_voice_is_what_the_library_makes_of_the_same_clips(coqui: Any, library: Any) -> None:
    import torch

    rng = np.random.default_rng(2)
    clips = [
        Sound(rng.standard_normal(n, np.float32) * np.float32(0.1), 24_000)
        for n in (99_000, 80_000)
    ]
    voice = coqui.conditioning(clips)
    waves = [torch.from_numpy(clip.samples)[None] for clip in clips]
    latents = library.get_gpt_cond_latents(torch.cat(waves, 1), 24_000, 30, 6)
    speakers = [library.get_speaker_embedding(wave, 24_000).reshape(-1) for wave in waves]
    assert np.abs(voice.latents - latents[0].numpy()).max() < 1e-4
    assert np.abs(voice.speaker - torch.stack(speakers).mean(0).numpy()).max() < 1e-5


def test_the_checkpoints_of_2023_are_loaded_and_left_as_they_are(
    xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    import torch
    from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig
    from TTS.tts.models.xtts import Xtts

    from engine_room.xtts.coqui import CoquiXtts

    old = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "old"))
    checkpoint = read_checkpoint(old)
    config = XttsConfig()
    config.load_json(old.path / "config.json")
    here = {kind: kind.__module__ for kind in (XttsArgs, XttsAudioConfig)}
    try:
        for kind in here:  # where they were in 2023
            kind.__module__ = "TTS.tts.models.xtts"
        torch.save(checkpoint | {"config": config}, old.checkpoint)
    finally:
        for kind, module in here.items():
            kind.__module__ = module
    before = sha256_of(old.checkpoint)
    with read_only(old.path):
        with pytest.raises(RuntimeError, match="Permission denied"):  # the library rewrites it
            Xtts(config)._load_checkpoint(old.checkpoint)
        assert CoquiXtts(old).languages[0] == "en"
    assert sha256_of(old.checkpoint) == before


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_number_that_the_library_cannot_read_is_read_by_its_digits(
    coqui: Any, language: str
) -> None:
    for number in ("1" * 400, "059" + ".059" * 40, "0.0" + "3" * 99, "000000000000000@", "9e999"):
        assert coqui.text_tokens(readable(number, language), language)
    odd = "1" + "0" * 400 + ","
    assert coqui.text_tokens(odd, "pl") == coqui.text_tokens(" ".join(odd), "pl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.pth", b"no weights"),
        ("config.json", b"{"),
        ("vocab.json", b"[]"),
    ],
)
def test_a_broken_file_is_said(
    xtts_folder: XttsFolder, tmp_path: Path, name: str, content: bytes
) -> None:
    from engine_room.xtts.coqui import CoquiXtts

    folder = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "broken"))
    (folder.path / name).write_bytes(content)
    with pytest.raises(Unavailable, match=r"broken cannot be loaded: \w+"):
        CoquiXtts(folder)


def test_broken_studio_speakers_are_said_and_may_be_removed(
    xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    from engine_room.xtts.coqui import CoquiXtts

    folder = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "broken"))
    speakers = folder.path / "speakers_xtts.pth"
    speakers.write_bytes(b"no speakers")
    coqui = CoquiXtts(folder)
    with pytest.raises(Unavailable, match=r"Put a whole speakers_xtts\.pth .* or remove it\.$"):
        coqui.speakers()
    speakers.unlink()
    assert coqui.speakers() == {}


def test_weights_that_are_missing_are_said(xtts_folder: XttsFolder, tmp_path: Path) -> None:
    from engine_room.xtts.coqui import CoquiXtts

    folder = XttsFolder(shutil.copytree(xtts_folder.path, tmp_path / "half"))
    drop_weight(folder, "gpt.mel_head.weight")
    with pytest.raises(Unavailable, match=r"it has no gpt\.mel_head\.weight"):
        CoquiXtts(folder)


def test_folders_are_known_by_their_config_and_tell_what_they_miss(
    xtts_folder: XttsFolder, tmp_path: Path
) -> None:
    shutil.copytree(xtts_folder.path, tmp_path / "my_voice_finetuned")
    (tmp_path / "xtts_v2").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model": "vits"}')
    mine, standard = xtts_folders(tmp_path)
    assert (mine.id, mine.missing) == ("my_voice_finetuned", [])
    assert standard.missing == ["config.json", "model.pth", "vocab.json"]
