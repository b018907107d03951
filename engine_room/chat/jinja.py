"""The Jinja that chat templates are written in: sandboxed, for they come with files of other people's.

Implements what Hugging Face's chat templates expect of their surroundings:
https://huggingface.co/docs/transformers/chat_templating
"""

import json
from datetime import datetime
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


def compiled(source: str) -> jinja2.Template:
    """A template ready to use, by any thread. Raises jinja2.TemplateSyntaxError."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.filters["tojson"] = to_json
    return environment.from_string(source)


def complaint(source: str) -> str:
    """Why a text is no template, with its line; empty when it is one."""
    try:
        compiled(source)
    except jinja2.TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # too deep, too long
        return f"{type(error).__name__}: {error}"
    return ""


def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    """As in Hugging Face's templates; Jinja's own filter is for HTML and escapes `<`."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
