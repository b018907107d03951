"""Chat templates are compiled apart from the rest, and one that is none is said so with its line."""

import jinja2
import pytest

from engine_room.chat.jinja import compiled, complaint


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for m in messages %}\n{{ m.content }}", "line 2: Unexpected end of template."),
        ("a\nb\n{{ x | nothing }}", "line 3: No filter named 'nothing'."),
        ("{{ " + "(" * 5000, "RecursionError"),
        ("{% for x in y %}" * 30 + "{% endfor %}" * 30, "too many statically nested blocks"),
    ],
)
def test_what_is_no_template_is_said_with_its_line(source: str, said: str) -> None:
    assert said in complaint(source)


def test_a_template_has_what_those_of_models_use() -> None:
    source = (
        "{{ [1, '<'] | tojson }} {{ strftime_now('%Y') }}{% for x in y %}{% break %}{% endfor %}"
    )
    assert complaint(source) == ""
    assert compiled(source).render(y=[]).startswith('[1, "<"] 2')
    with pytest.raises(jinja2.TemplateError, match="No tools"):
        compiled("{{ raise_exception('No tools') }}").render()
