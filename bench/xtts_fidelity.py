"""The rows of the bench of cloned voices that say how true they are: to the library, and to the clip."""

import tempfile
from pathlib import Path

import numpy as np

from bench.xtts_sides import Torch
from bench.xtts_table import Bench, print_row
from engine_room.clips import prepared
from engine_room.clones import ClonedVoice
from engine_room.encoding import Sound
from engine_room.xtts.conversion import GPT_FILE, VOCODER_FILE, OnnxVocoder
from engine_room.xtts.gpt import Conditioning
from engine_room.xtts.vocoder import Network, VocoderStream

NUM_POSITIONS = 64


def exact(bench: Bench) -> None:
    """How far what is computed here is from what the library computes."""
    _print_gpt(bench)
    _print_vocoder(bench)


def _print_gpt(bench: Bench) -> None:
    import torch

    from engine_room.xtts.coqui import CoquiXtts
    from engine_room.xtts.gpt import Span
    from engine_room.xtts.gpt_llama import LlamaGpt

    coqui = CoquiXtts(bench.folder)
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((NUM_POSITIONS, coqui.shape.width)).astype(np.float32)
    with torch.inference_mode():
        wanted = bench.library.model.gpt.gpt(inputs_embeds=torch.from_numpy(inputs)[None])
    wanted = wanted.last_hidden_state[0].numpy()
    for kind, reach in (("q8_0", ">= 0.999"), ("f16", ">= 0.99999")):
        with tempfile.TemporaryDirectory() as made:
            coqui.write_gpt(Path(made) / GPT_FILE, kind, lambda layer: None)
            gpt = LlamaGpt(Path(made) / GPT_FILE, 1, 2 * NUM_POSITIONS)
            spans = [Span(0, i, inputs[i : i + 1]) for i in range(NUM_POSITIONS)]
            hidden = np.stack([gpt.decode([span], 2)[0] for span in spans])
            gpt.close()
        norms = np.linalg.norm(hidden, axis=1) * np.linalg.norm(wanted, axis=1)
        cosine = float(((hidden * wanted).sum(1) / norms).min())
        label = f"GGUF {kind}, {coqui.num_layers} layers: lowest cosine to torch"
        print(f"| {label} | {cosine:.7f} | | | {reach} |")


def _print_vocoder(bench: Bench) -> None:
    import torch

    from engine_room.xtts.coqui import CoquiXtts

    assert bench.ours  # it has made the ONNX file
    coqui = CoquiXtts(bench.folder)
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((120, coqui.shape.width)).astype(np.float32)
    speaker = rng.standard_normal(512).astype(np.float32)
    speaker /= np.linalg.norm(speaker)
    with torch.inference_mode():
        whole = bench.library.model.hifigan_decoder(
            torch.from_numpy(latents)[None], g=torch.from_numpy(speaker).reshape(1, -1, 1)
        ).reshape(-1)
    networks: dict[str, Network] = {
        "torch": coqui.vocode,
        "ONNX": OnnxVocoder(bench.folder.converted / VOCODER_FILE, 2),
    }
    for name, network in networks.items():
        stream = VocoderStream(network, speaker, coqui.stretches)
        parts = [stream.add(latents[i : i + 24], i == 96)() for i in range(0, 120, 24)]
        difference = float(np.abs(np.concatenate(parts) - whole.numpy()).max())
        print(f"| vocoder in windows, {name}: largest difference | {difference:.1e} | | | < 1e-5 |")


def likeness(bench: Bench) -> None:
    """Whose voice the speech of each path is in, and how well it is understood; of a real model only."""
    if not bench.model_dir:
        print("| likeness and word error rate | – | – | – | need a real model: --model-dir |")
        return
    from bench import likeness as measure

    listener, torch = measure.Listener(), Torch(bench.folder)
    clips = measure.write_clips(bench.scratch)
    voices = {name: torch.coqui.conditioning([prepared(clip)]) for name, clip in clips.items()}
    cosines: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for seed, text in enumerate(measure.TEXTS * bench.num_runs):
        for name, voice in voices.items():
            for path, sound in _said(bench, torch, clips[name], voice, text, seed).items():
                heard = torch.coqui.conditioning([sound]).speaker
                cosines.setdefault(path, []).append(measure.cosine(heard, voice.speaker))
                errors.setdefault(path, []).append(
                    measure.word_error_rate(text, listener.heard(sound))
                )
    one, other = (voices[name].speaker for name in measure.VOICES)
    apart = measure.cosine(one, other)
    for label, found, reach in (
        ("likeness: cosine of clip and speech", cosines, f"the two clips: {apart:.2f}"),
        ("word error rate, mean", errors, "stated"),
    ):
        library = [float(np.mean(found["library"]))]
        for path in ("llama.cpp and ONNX", "torch"):
            print_row(f"{label}, {path}", [float(np.mean(found[path]))], library, reach)


def _said(
    bench: Bench, torch: Torch, clip: Path, voice: Conditioning, text: str, seed: int
) -> dict[str, Sound]:
    """The text in the clip's voice, by each path."""
    return {
        "llama.cpp and ONNX": bench.ours.say(text, ClonedVoice("clip", (clip,)), seed),
        "torch": torch.say(text, voice, seed),
        "library": bench.library.say(text, voice, seed),
    }
