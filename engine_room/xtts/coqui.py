"""The only importer of Coqui TTS: a model folder to what the engine needs of it.

The library's `Xtts` is loaded as the library does, but the user's file is never written to, and on a CPU
without its GPT and vocoder, which run elsewhere (see `conversion`). Not thread-safe but where it says so.
"""

import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models import xtts as library

from engine_room.encoding import Sound
from engine_room.errors import Unavailable
from engine_room.xtts.conversion import GptShape, write_gguf
from engine_room.xtts.folder import CONFIG, SPEAKERS, VOCABULARY, XttsFolder
from engine_room.xtts.gpt import Conditioning, Floats, Gpt, Tables
from engine_room.xtts.numbers import digit_by_digit
from engine_room.xtts.sampling import AudioSampling
from engine_room.xtts.vocoder import Context
from engine_room.xtts.vocoder_torch import WindowedVocoder

# Reference sound that shapes a voice, and the stretches it is averaged over, in seconds. More than the
# library's defaults of 6 and 6, as its own documentation advises.
CONDITIONING_S, CONDITIONING_CHUNK_S = 30, 6
# What num2words raises, by language, on numbers that are too large or too odd for it.
UNREAD = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class _Xtts(library.Xtts):  # type: ignore[misc]
    """The library's model, which rewrites the checkpoints of 2023 when it loads them; this does not."""

    @property
    def device(self) -> Any:
        """Where the library computes voices: not always where the vocoder is, whose device it takes."""
        return self.gpt.text_embedding.weight.device

    def _load_checkpoint(self, model_path: Path) -> dict[str, Any]:
        try:
            checkpoint = _read(model_path)
        except pickle.UnpicklingError:  # one with a config of the library's own class in it
            with library._legacy_safe_globals():
                checkpoint = _read(model_path)
        return dict(checkpoint["model"])


def _read(path: Path) -> dict[str, Any]:
    # Weights are read from the file when they are wanted: those of the GPT only once, to convert them.
    checkpoint: dict[str, Any] = torch.load(path, "cpu", weights_only=True, mmap=True)
    return checkpoint


class CoquiXtts:
    """A model folder, loaded without its GPT or, for a GPU, whole. Raises Unavailable when it cannot be.

    `text_tokens` may be called from any thread; `conditioning` from one thread at a time, whatever the
    others do.
    """

    def __init__(
        self,
        folder: XttsFolder,
        device: str = "cpu",
        with_gpt: bool = False,
        gpt_dtype: str = "float32",
    ) -> None:
        self._folder = folder
        self._device = device
        # Before macOS 15.1, MPS has no convolution over more than 65,536 samples, as a clip's is.
        self._voice_device = "cpu" if device == "mps" else device
        try:
            self._config = XttsConfig()
            self._config.load_json(folder.path / CONFIG)
            self.num_layers = int(self._config.model_args.gpt_layers)
            if not with_gpt:
                self._config.model_args.gpt_layers = 0
            self._model = _Xtts(self._config)
            self._model.tokenizer = VoiceBpeTokenizer(folder.path / VOCABULARY)
            self._model.init_models()
            self._state = self._model.get_compatible_checkpoint_state_dict(folder.checkpoint)
            missing = self._model.load_state_dict(self._state, strict=False).missing_keys
        except Exception as error:  # whatever is wrong with somebody's files
            raise _broken(folder, f"{type(error).__name__}: {error}") from error
        if with_gpt:
            self._state = {}  # all of it is in the model
        if missing:
            raise _broken(folder, f"it has no {missing[0]} and {len(missing) - 1} more")
        torch.nn.Module.eval(self._model)  # the library's own would build its generator, too
        gpt, vocoder = self._model.gpt.gpt, self._model.hifigan_decoder.waveform_decoder
        gpt.to(getattr(torch, gpt_dtype))
        gpt.wpe = _no_positions
        self._model.to(self._voice_device)
        for part in (gpt, vocoder):
            part.to(device)
        for module in vocoder.modules():
            # Weight norm, of use in training only.
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self._vocoder: Any = WindowedVocoder(vocoder)

    @property
    def languages(self) -> list[str]:
        """The codes of the languages it speaks."""
        return [str(code) for code in self._config.languages]

    @property
    def sampling(self) -> AudioSampling:
        """How its tokens are drawn, by its config."""
        config = self._config
        return AudioSampling(
            config.temperature, config.top_k, config.top_p, config.repetition_penalty
        )

    @property
    def stretches(self) -> tuple[float, ...]:
        """The factors by which latents become the vocoder's frames, one after the other."""
        args = self._model.args
        to_hops = args.gpt_code_stride_len / args.output_hop_length
        return to_hops, args.output_sample_rate / args.input_sample_rate

    @property
    def sample_rate_hz(self) -> int:
        """Of the sound it makes."""
        return int(self._model.args.output_sample_rate)

    @property
    def max_text_tokens(self) -> int:
        """Of a piece of text."""
        return int(self._model.args.gpt_max_text_tokens) - 1

    @property
    def max_voice_positions(self) -> int:
        """Positions of a voice's conditioning, at most."""
        return int(self._model.gpt.max_prompt_tokens)

    @property
    def shape(self) -> GptShape:
        """The size of its GPT."""
        gpt = self._model.gpt
        num_positions = gpt.max_prompt_tokens + gpt.max_mel_tokens + gpt.max_text_tokens + 1
        return GptShape(self.num_layers, gpt.heads, gpt.model_dim, num_positions)

    def tables(self) -> Tables:
        """What stands around the GPT."""
        gpt = self._model.gpt
        return Tables(
            text=_array(gpt.text_embedding.weight),
            text_positions=_array(gpt.text_pos_embedding.emb.weight),
            audio=_array(gpt.mel_embedding.weight),
            audio_positions=_array(gpt.mel_pos_embedding.emb.weight),
            norm_weight=_array(gpt.final_norm.weight),
            norm_bias=_array(gpt.final_norm.bias),
            head_weight=_array(gpt.mel_head.weight),
            head_bias=_array(gpt.mel_head.bias),
            start_text=int(gpt.start_text_token),
            stop_text=int(gpt.stop_text_token),
            start_audio=int(gpt.start_audio_token),
            stop_audio=int(gpt.stop_audio_token),
            max_audio_tokens=int(gpt.max_gen_mel_tokens),
        )

    def text_tokens(self, text: str, language: str) -> list[int]:
        """The tokens of a piece of text, numbers and abbreviations spelled out."""
        text = text.strip().lower()
        tokens: list[int]
        try:
            tokens = self._model.tokenizer.encode(text, language)
        except UNREAD:
            tokens = self._model.tokenizer.encode(digit_by_digit(text), language)
        return tokens

    def conditioning(self, clips: Sequence[Sound]) -> Conditioning:
        """What makes the voice in the clips. A second or two for 30 s of sound on a CPU."""
        speakers, waves = [], []
        for clip in clips:
            wave = torch.from_numpy(clip.samples)[None].to(self._voice_device)
            speakers.append(self._model.get_speaker_embedding(wave, clip.rate_hz))
            waves.append(wave)
        latents = self._model.get_gpt_cond_latents(
            torch.cat(waves, 1), clips[0].rate_hz, CONDITIONING_S, CONDITIONING_CHUNK_S
        )
        return Conditioning(_array(latents[0]), _array(torch.stack(speakers).mean(0).reshape(-1)))

    def speakers(self) -> dict[str, Conditioning]:
        """The studio speakers that came with the model, by name; none where their file is missing."""
        path = self._folder.path / SPEAKERS
        if not path.is_file():
            return {}
        try:
            known: dict[str, Any] = torch.load(path, "cpu", weights_only=True)
            return {
                name: Conditioning(
                    _array(each["gpt_cond_latent"][0]),
                    _array(each["speaker_embedding"].reshape(-1)),
                )
                for name, each in known.items()
            }
        except Exception as error:
            raise Unavailable(
                f"The studio speakers in {path} cannot be loaded: {type(error).__name__}: {error}.",
                f"Put a whole {SPEAKERS} of that XTTS model there, or remove it.",
            ) from error

    # ------------------------------------------------------------ the heavy parts

    def write_gpt(self, path: Path, gpt_type: str, on_layer: Callable[[int], None]) -> None:
        """The GPT as a GGUF."""
        weights = {
            name.removeprefix("gpt.gpt."): _array(value)
            for name, value in self._state.items()
            if name.startswith("gpt.gpt.")
        }
        try:
            write_gguf(path, self.shape, weights, gpt_type, on_layer)
        except KeyError as error:
            raise _broken(self._folder, f"it has no {error.args[0]}") from error

    def write_vocoder(self, path: Path) -> None:
        """The vocoder's network as ONNX; see `vocoder.Network`."""
        width = self._model.args.decoder_input_dim
        num_frames = 2 * self._vocoder.num_context_frames + 1
        example = (torch.zeros(1, width, num_frames), torch.zeros(1, 512, 1), torch.ones(2).long())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is the older one
            torch.onnx.export(
                self._vocoder.cpu(),
                example,
                path,
                input_names=["frames", "speaker", "context"],
                output_names=["samples"],
                dynamic_axes={"frames": {2: "frames"}, "samples": {0: "samples"}},
                opset_version=17,
                dynamo=False,  # the newer exporter needs two more packages
            )

    def torch_gpt(self, num_sequences: int, num_positions: int) -> Gpt:
        """The GPT in torch, on this device; there is one only `with_gpt`."""
        from engine_room.xtts.gpt_torch import TorchGpt

        return TorchGpt(self._model.gpt.gpt, num_sequences, num_positions)

    def vocode(self, frames: Floats, speaker: Floats, context: Context) -> Floats:
        """A `vocoder.Network` in torch."""
        with torch.inference_mode():
            x = torch.from_numpy(frames.T[None].copy()).to(self._device)
            g = torch.from_numpy(speaker.reshape(1, -1, 1)).to(self._device)
            # The context is of sizes, which are not the device's.
            return _array(self._vocoder(x, g, torch.tensor(context, dtype=torch.int64)))

    def drop_heavy_parts(self) -> None:
        """Free what runs elsewhere from now on."""
        self._state = {}
        self._model.hifigan_decoder.waveform_decoder = None
        self._vocoder = None

    def close(self) -> None:
        """Free the memory; it is not to be used any more."""
        self._state = {}
        del self._model, self._vocoder
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()


def best_device(asked: str) -> str:
    """The torch device for a setting: "auto" is a CUDA GPU, else the CPU. Raises Unavailable."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = asked.partition(":")
    there = {
        "cpu": True,
        "cuda": torch.cuda.device_count() > int(number or 0),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[kind]:
        raise Unavailable(f"There is no {asked} device for XTTS.", "Set XTTS_DEVICE=auto.")
    return asked


def best_dtype(asked: str, device: str) -> str:
    """The GPT's dtype for a setting. Raises Unavailable.

    On CUDA "auto" is float16: half the memory, and nearer to float32 than bfloat16 (30 layers of random
    weights: cosine 0.999999 and 0.9999), on all GPUs. Whatever is not the GPT stays float32.
    """
    is_cuda = device.startswith("cuda")
    if asked == "auto":
        return "float16" if is_cuda else "float32"
    if is_cuda and asked == "bfloat16" and not torch.cuda.is_bf16_supported(False):
        raise Unavailable("This GPU does not compute in bfloat16.", "Set XTTS_DTYPE=float16.")
    return asked


def _no_positions(_: torch.Tensor) -> torch.Tensor:
    """A zero that leaves the dtype of what it is added to; the library's zeros would make it float32."""
    return torch.zeros(())


def _array(tensor: torch.Tensor) -> Floats:
    array: Floats = tensor.detach().float().cpu().numpy()
    return array


def _broken(folder: XttsFolder, why: str) -> Unavailable:
    return Unavailable(
        f"The XTTS model in {folder.path} cannot be loaded: {why}.",
        f"Put whole {CONFIG}, {folder.checkpoint.name} and {VOCABULARY} of one XTTS model there.",
    )
