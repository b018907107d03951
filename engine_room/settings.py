"""Every knob, with default, unit and environment name; read once.

A setting `some_name` is the environment variable `SOME_NAME`, the same line in `.env`, and the flag
`--some-name` of `python openai_api.py`; the flag wins over the environment, that over `.env`.
"""

import re
import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PROJECT_DIR = Path(__file__).resolve().parent.parent
ENV_FILE = PROJECT_DIR / ".env"


def in_project(path: Path) -> Path:
    """A relative folder is meant from the project's folder, wherever the server is started."""
    return path if path.is_absolute() else PROJECT_DIR / path


def keep_setting(name: str, value: str, env_file: Path = ENV_FILE) -> None:
    """Write a setting's line into `.env`, in place of those that it has there. Raises OSError."""
    env_file = env_file.resolve()
    lines = env_file.read_text("utf-8").splitlines() if env_file.exists() else []
    others = [
        line
        for line in lines
        if line.strip().removeprefix("export ").partition("=")[0].strip().upper() != name
    ]
    draft = env_file.with_name(f"{env_file.name}.draft")
    draft.touch(0o600)  # there may be keys in it
    if lines:
        shutil.copymode(env_file, draft)
    draft.write_text("\n".join([*others, f"{name}={value}", ""]), "utf-8")
    draft.replace(env_file)


def _split_keys(value: object) -> object:
    if isinstance(value, str):
        return tuple(key.strip() for key in value.split(",") if key.strip())
    return value


Folder = Annotated[Path, AfterValidator(in_project)]
File = Annotated[str, AfterValidator(lambda path: path and str(in_project(Path(path))))]
Keys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_keys)]
Count = Annotated[int, Field(ge=0)]
KvType = Literal["f16", "q8_0", "q4_0"]


def _is_a_context(value: int) -> int:
    if 0 < value < 64:
        raise ValueError(
            f"{value} tokens hold no conversation: 0 (the model's own), or 64 at least"
        )
    return value


ContextTokens = Annotated[Count, Field(le=100_000_000), AfterValidator(_is_a_context)]
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The server's settings, with their defaults. Instead of serving: openai_api.py xtts-license, which shows
    XTTS's licence and asks whether you agree; openai_api.py models, which fetches models (models --help)."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        extra="ignore",
        frozen=True,
        cli_prog_name="openai_api.py",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )

    host: str = Field(
        "0.0.0.0", description="address to listen on; 127.0.0.1 for this machine only"
    )
    port: int = Field(8001, ge=0, le=65535, description="port to listen on")
    ssl_certfile: File = Field(
        "",
        description="certificate file (PEM) to serve https with, its chain included; empty: http",
    )
    ssl_keyfile: File = Field(
        "", description="private key file of the certificate; empty: the certificate's file has it"
    )
    openai_api_keys: Keys = Field(
        (), description="comma-separated keys; when set, clients must send one of them"
    )
    trusted_origins: Keys = Field(
        (),
        description="comma-separated origins (`https://chat.example.com`) whose pages may add and delete "
        "voices and models, beside this server's own and those of localhost",
    )
    open_audio_lists: bool = Field(
        True, description="list voices and speech models without a key, as Open WebUI asks for them"
    )
    max_queued: int = Field(
        256, ge=1, description="requests that may wait for each engine; past it 429"
    )
    max_upload_bytes: int = Field(
        25_000_000, ge=1, description="largest audio upload, and all images of a chat, in bytes"
    )
    image_urls: bool = Field(
        False,
        description="fetch images that chats name by http(s) URLs, from public addresses; else refused",
    )
    stop_timeout_s: int = Field(
        10, ge=0, description="seconds that running answers get to finish when the server stops"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much the log says"
    )

    models_dir: Folder = Field(Path("models"), description="folder of the model files")
    fetch_models: Literal["ask", "on_use"] = Field(
        "ask",
        description="what a request does that names a model which is offered (`models list`) and not here: "
        "`ask` (an error with the command that fetches it), `on_use` (fetch it, then answer)",
    )
    suggest_model: bool = Field(
        True,
        description="in the log at the start, name a better chat model, and a faster form of the bundled "
        "one, while that alone is there",
    )
    voice_clones_dir: Folder = Field(Path("voice_clones"), description="folder of the voice clips")
    audio_dir: Folder = Field(Path("audio"), description="folder of the kept speech")

    chat_model: str = Field(
        "",
        description="model that answers for names without a file of their own; empty: the bundled one",
    )
    chat_parallel: int = Field(8, ge=1, le=64, description="answers written at the same time")
    chat_context_tokens: ContextTokens = Field(
        0,
        description="context in tokens, at most what the model was trained on; 0: that, as far as an eighth "
        "of the free memory holds it twice",
    )
    chat_max_tokens: Count = Field(
        0,
        description="answer length in tokens where a request names none; 0: what the context holds",
    )
    chat_cache_mb: int = Field(
        -1,
        ge=-1,
        description="megabytes of RAM for past prompts; -1: a tenth of what is free at the start",
    )
    chat_memory_mb: Count = Field(
        0,
        description="megabytes of RAM that the chat models in memory may take together; 0: four fifths of "
        "what is free at the start",
    )
    chat_gpu_memory_mb: Count = Field(
        0,
        description="megabytes of GPU memory that they may take together, if there is a GPU; 0: four fifths "
        "of what is free at the start",
    )
    chat_unload_after_s: Count = Field(
        0,
        description="free a chat model's memory after so many seconds without a request; 0: never; a "
        "request's `keep_alive` says it for its model",
    )
    chat_threads: Count = Field(
        0,
        description="threads of the chat model at most; 0: one per core; fewer while others compute",
    )
    chat_gpu_layers: int = Field(
        -1, ge=-1, description="layers of the chat model on the GPU, if there is one; -1: all"
    )
    chat_flash_attention: Literal["auto", "on", "off"] = Field(
        "auto",
        description="flash attention: `auto` (where the model and the device can), `on`, `off`",
    )
    chat_kv_type: KvType = Field(
        "f16",
        description="how conversations are held in memory: `f16`, `q8_0` (half as large), `q4_0` (a quarter)",
    )
    chat_lora: Keys = Field(
        (),
        description="comma-separated LoRA files (GGUF) of the default chat model; `file=0.5`: half as strong",
    )
    chat_rope_scaling: Literal["model", "none", "linear", "yarn"] = Field(
        "model",
        description="how the default chat model's context is stretched: as its file says (`model`), `none`, "
        "`linear`, `yarn`; the last two reach `CHAT_CONTEXT_TOKENS`",
    )
    chat_rope_freq_base: Factor = Field(
        0, description="RoPE base frequency of the default chat model; 0: its own"
    )
    chat_rope_freq_scale: Factor = Field(
        0,
        le=1,
        description="RoPE frequency scale of the default chat model (0.25: four times as far); 0: its own",
    )

    embedding_model: str = Field(
        "",
        description="model that answers for OpenAI's embedding names; empty: the only one there is",
    )

    embedding_unload_after_s: Count = Field(
        0,
        description="free the embedding model's memory after so many seconds without a request; 0: never",
    )

    speech_max_chars: int = Field(
        20_000, ge=1, description="longest text for one speech request, in characters"
    )
    speech_engine: Literal["hibari", "xtts"] = Field(
        "hibari",
        description="what speaks OpenAI's voice names with `tts-1` and its like: `hibari` (the fast English "
        "voices), `xtts` (its studio speakers; an error while there is no XTTS)",
    )
    speech_lufs: float = Field(
        -22, ge=-40, le=-10, description="how loud all voices are, in LUFS (EBU R 128)"
    )
    speech_sample_rate: int = Field(
        24_000,
        ge=8_000,
        le=96_000,
        description="samples per second of speech, in formats that have this rate; in others 24000",
    )
    speech_bitrate: Count = Field(
        0, description="bits per second of mp3, opus and aac; 0: 96000, for opus 48000"
    )
    speech_cache: bool = Field(
        True,
        description="answer a speech request like an earlier one with the file that is kept of it",
    )
    audio_keep_files: Count = Field(500, description="newest speech files kept; 0 keeps nothing")
    audio_keep_mb: Count = Field(500, description="megabytes of speech kept; 0 keeps nothing")

    accept_xtts_license: bool = Field(
        False,
        description="whether you agree to XTTS's licence (Coqui Public Model License: non-commercial use "
        "only); without it, or a yes when the model was fetched, cloned voices do not speak",
    )
    xtts_device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="where cloned voices are computed: `auto` (a CUDA GPU, else the CPU), `cpu`, `cuda`, "
        "`cuda:1` (the second one), `mps`",
    )
    xtts_dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="numbers of XTTS's GPT on a GPU: `auto` (`float16` on CUDA, else `float32`), `float32`, "
        "`float16`, `bfloat16`",
    )
    xtts_gpt_type: Literal["q8_0", "f16", "f32"] = Field(
        "q8_0", description="how XTTS's GPT is kept for a CPU: `q8_0`, `f16` (slower), `f32`"
    )
    xtts_parallel: int = Field(4, ge=1, le=32, description="sentences spoken at the same time")
    xtts_language: str = Field(
        "",
        description="language of cloned voices where neither request nor voice names one; empty: told from "
        "the text",
    )
    xtts_at_start: bool = Field(
        False, description="load XTTS when the server starts rather than when it is first asked for"
    )
    xtts_unload_after_s: Count = Field(
        0, description="free XTTS's memory after so many seconds without a request; 0: never"
    )

    transcription_model: str = Field(
        "",
        description="the folder in `models/` that answers for `whisper-1`; empty: the one that came with the "
        "install",
    )
    transcription_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where transcription computes: `auto` (CUDA where there is), `cpu`, `cuda`",
    )
    transcription_threads: Count = Field(
        0,
        description="threads of the transcription model; 0: one per core, half as many while others compute",
    )

    transcription_unload_after_s: Count = Field(
        0,
        description="free the transcription models' memory after so many seconds without a request; 0: never",
    )

    @field_validator("trusted_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.lower().rstrip("/") for origin in value)
        for origin in origins:
            if not re.fullmatch(r"https?://[^/?#\s*]+", origin):
                raise ValueError(
                    f"{origin!r} is no origin; one is like https://chat.example.com or http://10.0.0.5:3000"
                )
        return origins

    @field_validator("chat_kv_type")
    @classmethod
    def _has_flash_attention(cls, value: str, info: ValidationInfo) -> str:
        if value != "f16" and info.data.get("chat_flash_attention") == "off":
            raise ValueError(
                f"{value} needs CHAT_FLASH_ATTENTION=auto or on; without it only f16 works"
            )
        return value

    @field_validator("chat_rope_freq_scale")
    @classmethod
    def _is_used(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("chat_rope_scaling") == "none":
            raise ValueError(
                "a scale does nothing with CHAT_ROPE_SCALING=none: set that to linear or yarn"
            )
        return value
