"""XTTS models with random weights, as folders that coqui-tts loads: tiny for tests, full for benches.

A tiny one speaks noise, but it is computed as real speech is: conditioning from a clip, text tokens, GPT,
vocoder. Its vocoder and speaker encoder cannot be made smaller: 92 MB, built in a second.
"""

import string
from pathlib import Path
from typing import Any

from engine_room.xtts.folder import CONFIG, SPEAKERS, VOCABULARY, XttsFolder

LANGUAGES = "en es fr de it pt pl tr ru nl cs ar zh-cn hu ko ja hi".split()
TINY: dict[str, Any] = {
    "gpt_layers": 2,
    "gpt_n_model_channels": 64,
    "gpt_n_heads": 2,
    "decoder_input_dim": 64,
    "gpt_num_audio_tokens": 66,
    "gpt_start_audio_token": 64,
    "gpt_stop_audio_token": 65,
    "gpt_max_audio_tokens": 40,
}
FULL: dict[str, Any] = {
    "gpt_num_audio_tokens": 1026,
    "gpt_start_audio_token": 1024,
    "gpt_stop_audio_token": 1025,
}


def write_xtts(folder: Path, sizes: dict[str, Any] | None = None, num_tokens: int = 0) -> Path:
    """A whole model folder: config.json, model.pth, vocab.json and speakers_xtts.pth. Tiny, or as FULL:
    then each sentence has `num_tokens`, or, with 0, goes on until it is stopped."""
    import torch
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    folder.mkdir(parents=True)
    _write_vocab(folder / "vocab.json")
    torch.manual_seed(1)
    config = XttsConfig(model_args=XttsArgs(gpt_use_perceiver_resampler=True, **(sizes or TINY)))
    model = Xtts(config)
    model.tokenizer = type(model.tokenizer)(vocab_file=folder / "vocab.json")
    model.init_models()
    if sizes is None:
        _liven(model)
    else:  # for benches: the length is known
        _end_after(num_tokens, model)
    config.save_json(folder / "config.json")
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    width = model.args.gpt_n_model_channels
    speakers = {
        f"Speaker {number}": {
            "gpt_cond_latent": torch.randn(1, 32, width),
            "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
        }
        for number in range(2)
    }
    torch.save(speakers, folder / "speakers_xtts.pth")
    return folder


def _end_after(num_tokens: int, model: Any) -> None:
    """Positions after so many tokens are a direction that outweighs all else, and that direction means the
    end."""
    import torch

    stop = model.args.gpt_stop_audio_token
    model.gpt.mel_head.bias.data[stop] = -1e4
    if num_tokens:
        positions = model.gpt.mel_pos_embedding.emb.weight.data
        direction = torch.randn(positions.shape[1])
        positions[num_tokens:] = 1e3 * direction
        model.gpt.mel_head.weight.data[stop] = 1e3 * direction / direction.norm()


def link_xtts(model: XttsFolder, path: Path) -> XttsFolder:
    """A folder of links to a model's files, so that nothing is written beside them."""
    if model.missing:
        raise FileNotFoundError(f"there is no {', no '.join(model.missing)} in {model.path}")
    path.mkdir(parents=True)
    for file in (CONFIG, model.checkpoint.name, VOCABULARY, SPEAKERS):
        if (model.path / file).is_file():
            (path / file).symlink_to((model.path / file).resolve())
    return XttsFolder(path)


def read_checkpoint(model: XttsFolder) -> dict[str, Any]:
    """What is in a model's checkpoint, also in one of 2023, which has the library's classes in it."""
    import torch
    from TTS.tts.models import xtts as library

    with library._legacy_safe_globals():
        checkpoint: dict[str, Any] = torch.load(model.checkpoint, "cpu", weights_only=True)
    return checkpoint


def drop_weight(model: XttsFolder, name: str) -> None:
    """Leave a weight out of a model's checkpoint; fine-tuned ones have a prefix before its name."""
    import torch

    checkpoint = read_checkpoint(model)
    weights = checkpoint["model"]
    del weights[next(key for key in weights if key.removeprefix("xtts.") == name)]
    torch.save({"model": weights}, model.checkpoint)


def _liven(model: Any) -> None:
    """Bigger random weights where a fresh model is all but deaf to its input: layers that hardly change
    what passes through them would hide a mistake in the order of things."""
    for name, weights in model.gpt.named_parameters():
        if weights.ndim >= 2 and ("gpt.h." in name or "head" in name or "pos_emb" in name):
            weights.data.mul_(4)


def _write_vocab(path: Path) -> None:
    from tokenizers import Tokenizer, models

    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{code}]" for code in LANGUAGES)]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    vocab = {token: number for number, token in enumerate([*special, *dict.fromkeys(letters)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(path))
