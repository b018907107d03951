"""The design holds: who imports whom, how long a module may be, and what its words promise."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import openai_api
from engine_room.settings import Settings

PROJECT_DIR = Path(__file__).resolve().parent.parent
ROOM = PROJECT_DIR / "engine_room"
MODULES = {
    ".".join(path.relative_to(ROOM).with_suffix("").parts): path
    for path in ROOM.rglob("*.py")
    if path.stem != "__init__"
}
MODULES["openai_api"] = PROJECT_DIR / "openai_api.py"
FLOORS = [
    {
        "cores",
        "english_words",
        "errors",
        "fetched_voices",
        "folders",
        "gguf",
        "projectors",
        "language_guess",
        "packages",
        "metrics",
        "chat.jinja",
        "model_settings",
        "model_tables",
        "offers",
        "toml_lines",
        "settings",
        "schemas",
        "schemas_chat",
        "schemas_completion",
        "schemas_embeddings",
        "schemas_models",
        "schemas_speech",
        "schemas_voices",
        "standard_voices",
        "xtts.folder",
        "xtts.gpt",
    },
    {
        "failures",
        "health",
        "jobs",
        "sillytavern",
        "decoding",
        "encoding",
        "catalogue",
        "clips",
        "clone_store",
        "clones",
        "voices",
        "recordings",
    }
    | {"web_images"}
    | {"hub", "fetch_plan", "fetched_part", "fetching", "installed", "local_models", "memory_fit"}
    | {"offered"}
    | {"instructions", "lexicon", "speech_english", "speech_markdown", "speech_script"}
    | {"speech_text", "voice_names"}
    | {"loudness", "speech_format", "speech_output", "spoken"}
    | {
        "chat.answer_grammar",
        "chat.answers",
        "chat.embedded",
        "chat.images",
        "chat.grammar",
        "chat.preparation",
        "chat.reader",
        "chat.template",
        "chat.tool_format",
        "chat.tools",
        "chat.logprobs",
        "chat.pace",
        "chat.options",
        "chat.memory",
        "chat.resident",
        "chat.turn",
        "chat.format",
        "chat.answer",
        "chat.completion",
        "chat.sequence",
        "chat.vocabulary",
        "embedding_format",
        "embedding_turn",
        "llama_devices",
        "llama_library",
        "transcription_languages",
        "transcription_turn",
        "transcription_format",
        "whisper_models",
        "xtts.cleaning",
        "xtts.conditioning",
        "xtts.guard",
        "xtts.languages",
        "xtts.licence",
        "xtts.numbers",
        "xtts.pace",
        "xtts.places",
        "xtts.readiness",
        "xtts.sampling",
        "xtts.studio",
        "xtts.text",
        "xtts.turn",
        "xtts.utterance",
        "xtts.vocoder",
    },
    {
        "chat.cache",
        "chat.llama",
        "chat.lora",
        "chat.requantising",
        "chat.sampler",
        "chat.scheduler",
        "chat.trial",
        "chat.vision",
        "embedding_llama",
        "speech_light",
        "speech_writer",
        "transcription_network",
        "transcription_whisper",
        "xtts.conversion",
        "xtts.coqui",
        "xtts.gpt_llama",
        "xtts.gpt_torch",
        "xtts.model",
        "xtts.narration",
        "xtts.vocoder_torch",
    },
    {
        "chat.engine",
        "chat.loading",
        "chat.optimizing",
        "chat.residents",
        "embedding",
        "speech",
        "transcription",
        "xtts.engine",
    },
    {
        "app",
        "commands",
        "downloads",
        "fetch_on_use",
        "model_commands",
        "streams",
        "door",
        "engines",
        "origins",
        "page",
        "server",
    }
    | {"message_media", "speaking", "speech_key", "synthesis", "transcribing", "uploads"}
    | {"replies"},
    {"openai_api"},
]
# (importer, imported) on one floor.
NEIGHBOURS = {
    ("fetched_voices", "standard_voices"),
    ("app", "door"),
    ("app", "page"),
    ("chat.answer", "chat.logprobs"),
    ("commands", "model_commands"),
    ("catalogue", "jobs"),
    ("catalogue", "whisper_models"),
    ("transcription_format", "transcription_languages"),
    ("transcription_format", "transcription_turn"),
    ("transcription_whisper", "transcription_network"),
    ("catalogue", "xtts.readiness"),
    ("clips", "decoding"),
    ("clips", "encoding"),
    ("decoding", "encoding"),
    ("clone_store", "clips"),
    ("clone_store", "clones"),
    ("clone_store", "encoding"),
    ("clone_store", "voice_names"),
    ("clones", "clips"),
    ("clones", "voice_names"),
    ("chat.answer", "chat.turn"),
    ("chat.answer_grammar", "chat.grammar"),
    ("chat.answer_grammar", "chat.tool_format"),
    ("chat.answer_grammar", "chat.turn"),
    ("chat.answers", "chat.grammar"),
    ("chat.answers", "chat.preparation"),
    ("chat.answers", "chat.sequence"),
    ("chat.answers", "chat.turn"),
    ("chat.answers", "jobs"),
    ("chat.completion", "catalogue"),
    ("chat.completion", "chat.answer"),
    ("chat.completion", "chat.format"),
    ("chat.completion", "chat.grammar"),
    ("chat.completion", "chat.turn"),
    ("chat.format", "catalogue"),
    ("chat.format", "chat.grammar"),
    ("chat.format", "chat.images"),
    ("chat.format", "chat.tools"),
    ("chat.format", "chat.turn"),
    ("chat.preparation", "chat.answer_grammar"),
    ("chat.preparation", "chat.embedded"),
    ("chat.preparation", "chat.grammar"),
    ("chat.preparation", "chat.images"),
    ("chat.preparation", "chat.reader"),
    ("chat.preparation", "chat.template"),
    ("chat.preparation", "chat.tool_format"),
    ("chat.preparation", "chat.vocabulary"),
    ("chat.preparation", "chat.turn"),
    ("chat.reader", "chat.tool_format"),
    ("chat.reader", "chat.turn"),
    ("chat.sequence", "chat.reader"),
    ("chat.llama", "chat.lora"),
    ("chat.llama", "chat.sampler"),
    ("chat.loading", "chat.engine"),
    ("chat.loading", "chat.residents"),
    ("chat.memory", "chat.options"),
    ("chat.resident", "catalogue"),
    ("chat.resident", "chat.memory"),
    ("chat.resident", "chat.turn"),
    ("chat.resident", "jobs"),
    ("chat.llama", "chat.vision"),
    ("chat.trial", "chat.llama"),
    ("chat.sequence", "chat.embedded"),
    ("chat.sequence", "chat.logprobs"),
    ("chat.sequence", "chat.turn"),
    ("chat.sequence", "jobs"),
    ("chat.template", "chat.tool_format"),
    ("chat.template", "chat.turn"),
    ("chat.tools", "chat.grammar"),
    ("chat.tools", "chat.turn"),
    ("chat.turn", "catalogue"),
    ("chat.turn", "chat.grammar"),
    ("chat.turn", "chat.images"),
    ("chat.turn", "chat.logprobs"),
    ("chat.vocabulary", "chat.turn"),
    ("engines", "downloads"),
    ("engines", "speaking"),
    ("engines", "synthesis"),
    ("engines", "transcribing"),
    ("message_media", "engines"),
    ("message_media", "streams"),
    ("message_media", "transcribing"),
    ("message_media", "uploads"),
    ("projectors", "gguf"),
    ("speaking", "speech_key"),
    ("speaking", "synthesis"),
    ("speech_format", "spoken"),
    ("speech_key", "synthesis"),
    ("speech_output", "encoding"),
    ("spoken", "encoding"),
    ("fetch_plan", "hub"),
    ("fetch_on_use", "downloads"),
    ("fetch_on_use", "streams"),
    ("fetched_part", "hub"),
    ("fetching", "fetch_plan"),
    ("fetching", "fetched_part"),
    ("fetching", "hub"),
    ("fetching", "installed"),
    ("installed", "catalogue"),
    ("installed", "whisper_models"),
    ("local_models", "installed"),
    ("local_models", "whisper_models"),
    ("offered", "catalogue"),
    ("offered", "installed"),
    ("offered", "memory_fit"),
    ("offered", "xtts.licence"),
    ("recordings", "encoding"),
    ("schemas_models", "offers"),
    ("replies", "engines"),
    ("replies", "streams"),
    ("replies", "transcribing"),
    ("replies", "uploads"),
    ("memory_fit", "chat.memory"),
    ("memory_fit", "chat.options"),
    ("llama_devices", "llama_library"),
    ("memory_fit", "llama_devices"),
    ("health", "jobs"),
    ("embedding_format", "catalogue"),
    ("embedding_format", "embedding_turn"),
    ("embedding_turn", "catalogue"),
    ("door", "origins"),
    ("door", "page"),
    ("model_settings", "errors"),
    ("model_settings", "gguf"),
    ("model_settings", "model_tables"),
    ("model_tables", "settings"),
    ("model_settings", "settings"),
    ("model_tables", "chat.jinja"),
    ("model_tables", "errors"),
    ("model_tables", "schemas_chat"),
    ("model_tables", "toml_lines"),
    ("schemas", "errors"),
    ("schemas_chat", "errors"),
    ("schemas_chat", "schemas"),
    ("schemas_completion", "schemas"),
    ("schemas_completion", "schemas_chat"),
    ("schemas_embeddings", "schemas"),
    ("schemas_models", "schemas"),
    ("schemas_speech", "schemas"),
    ("schemas_voices", "schemas"),
    ("voices", "clips"),
    ("voices", "clone_store"),
    ("voices", "clones"),
    ("voices", "encoding"),
    ("sillytavern", "xtts.languages"),
    ("speech_script", "speech_markdown"),
    ("voices", "jobs"),
    ("xtts.cleaning", "xtts.languages"),
    ("xtts.coqui", "xtts.conversion"),
    ("xtts.coqui", "xtts.gpt_torch"),
    ("xtts.coqui", "xtts.vocoder_torch"),
    ("xtts.model", "xtts.conversion"),
    ("xtts.model", "xtts.coqui"),
    ("xtts.model", "xtts.gpt_llama"),
    ("xtts.text", "xtts.cleaning"),
    ("xtts.text", "xtts.languages"),
    ("xtts.text", "xtts.numbers"),
    ("voices", "voice_names"),
    ("voices", "xtts.conditioning"),
    ("voices", "xtts.languages"),
    ("voices", "xtts.readiness"),
    ("voices", "xtts.studio"),
    ("xtts.turn", "xtts.studio"),
    ("xtts.guard", "xtts.pace"),
    ("xtts.readiness", "jobs"),
    ("xtts.readiness", "xtts.licence"),
    ("xtts.turn", "clones"),
    ("xtts.turn", "xtts.sampling"),
    ("xtts.utterance", "xtts.sampling"),
}
# Who may import a library, where that is not everybody.
OWNERS = {
    "fastapi": {"app", "fetch_on_use", "openai_api"},
    "fastapi_offline": {"app"},
    "starlette": {"app", "fetch_on_use", "message_media", "page", "streams", "uploads"}
    | {"replies"},
    "sse_starlette": {"streams"},
    "uvicorn": {"server"},
    "prometheus_client": {"metrics"},
    "llama_cpp": {
        "chat.llama",
        "chat.lora",
        "chat.requantising",
        "chat.sampler",
        "chat.vision",
        "embedding_llama",
        "llama_devices",
        "llama_library",
        "xtts.gpt_llama",
    },
    "llguidance": {"chat.grammar"},
    "hibari": {"speech_light"},
    "faster_whisper": {"transcription_network", "transcription_whisper"},
    "ctranslate2": {"transcription_network", "transcription_whisper"},
    "av": {"chat.images", "decoding", "encoding"},
    "pydub": {"clips", "encoding"},
    "huggingface_hub": {"hub"},
    "filelock": {"fetching"},
    "jinja2": {"chat.jinja", "chat.template"},
    "psutil": {"memory_fit", "xtts.engine"},
    "TTS": {"xtts.coqui"},
    "torch": {"xtts.coqui", "xtts.gpt_torch", "xtts.vocoder_torch"},
    "transformers": {"xtts.gpt_torch"},
    "onnxruntime": {"xtts.conversion"},
    "safetensors": {"xtts.conditioning"},
}
# Too slow to be loaded before the server answers: imported inside a function only.
LATE = {
    "chat.llama",
    "chat.lora",
    "chat.optimizing",
    "chat.requantising",
    "chat.sampler",
    "chat.trial",
    "chat.vision",
    "embedding_llama",
    "llama_devices",
    "llama_library",
    "speech_light",
    "transcription_network",
    "transcription_whisper",
    "av",
    "pydub",
    "imageio_ffmpeg",
}
LATE |= {"xtts.coqui", "xtts.gpt_llama", "xtts.gpt_torch", "xtts.vocoder_torch"}
LATE |= {
    "hub",
    "fetch_plan",
    "fetched_part",
    "fetching",
    "huggingface_hub",
    "model_commands",
    "tqdm",
}
LATE |= {"py3langid", "scipy", "torch", "TTS", "transformers", "onnxruntime", "safetensors"}
each_module = pytest.mark.parametrize("name", sorted(MODULES))


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(node: ast.AST) -> Iterator[str]:
    """What is imported anywhere in a node: ours by the module's name, others by the library's."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            library, _, module = child.module.partition(".")
            if library != "engine_room":
                yield library
            elif module in MODULES:
                yield module
            else:  # a folder of modules
                yield from (f"{module}.{alias.name}".lstrip(".") for alias in child.names)


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_every_module_has_its_floor() -> None:
    assert set.union(*FLOORS) == set(MODULES)


@each_module
def test_a_module_imports_from_lower_floors_and_agreed_neighbours_only(name: str) -> None:
    ours = set(imports(tree(name))) & set(MODULES)
    beside = {other for other in ours if floor(other) == floor(name)}
    assert {other for other in ours if floor(other) > floor(name)} == set()
    assert {(name, other) for other in beside} <= NEIGHBOURS


@each_module
def test_a_library_is_imported_by_its_own_module_only(name: str) -> None:
    used = set(imports(tree(name))) & set(OWNERS)
    assert {library for library in used if name not in OWNERS[library]} == set()


@each_module
def test_what_is_slow_to_load_is_imported_late(name: str) -> None:
    if name in LATE:
        return
    at_import = [node for node in tree(name).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {found for node in at_import for found in imports(node)} & LATE == set()


@each_module
def test_modules_and_functions_are_short(name: str) -> None:
    num_lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert num_lines <= (450 if name == "openai_api" else 400)
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < 60, node.name


@each_module
def test_every_module_and_everything_public_in_it_says_what_it_is(name: str) -> None:
    module = tree(name)
    public = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]
    for node in [module, *public]:
        assert ast.get_docstring(node), node


def test_handlers_are_at_most_twenty_five_lines() -> None:
    for node in tree("openai_api").body:
        if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
            continue
        if any("v1." in ast.unparse(decorator) for decorator in node.decorator_list):
            first = node.body[1] if ast.get_docstring(node) else node.body[0]
            assert node.end_lineno
            assert node.end_lineno - first.lineno < 25, node.name


def test_every_route_is_in_the_docstring_and_nothing_else_is(tmp_path: Path) -> None:
    schema = openai_api.create_app(Settings(_env_file=None, models_dir=tmp_path)).openapi()
    served = {
        f"{method.upper()} {path}"
        for path, methods in schema["paths"].items()
        for method in methods
    }
    assert openai_api.__doc__
    table = openai_api.__doc__.split("\n\n")[1]
    said = {" ".join(line.split()[:2]) for line in table.splitlines()}
    assert said - {"GET /,", "GET /docs,"} == served
