"""Every key of a TOML file is found in the line where it stands."""

import pytest

from engine_room.toml_lines import lines_of, read

TEXT = """# settings
first = 1

["a.b"]  # a table
text = '''
[no table]
key = 1
'''
list = [
  "x",
  "y",
]
inner.deep = 3
inline = { one = 1, two = { three = 3 } }

[ "a.b" . sampling ]
last = '''
]
'''
after = 2
"""


def test_keys_are_found_behind_texts_and_lists_of_several_lines_and_inside_others() -> None:
    assert lines_of(TEXT) == {
        ("first",): 2,
        ("a.b",): 4,
        ("a.b", "text"): 5,
        ("a.b", "list"): 9,
        ("a.b", "inner"): 13,
        ("a.b", "inner", "deep"): 13,
        ("a.b", "inline"): 14,
        ("a.b", "inline", "one"): 14,
        ("a.b", "inline", "two"): 14,
        ("a.b", "inline", "two", "three"): 14,
        ("a.b", "sampling"): 16,
        ("a.b", "sampling", "last"): 17,
        ("a.b", "sampling", "after"): 20,
    }


def test_lines_are_the_same_as_windows_ends_them() -> None:
    assert lines_of(TEXT.replace("\n", "\r\n")) == lines_of(TEXT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = hot\n", r"^line 2, 'b = hot': "),
        ("a = 1\n\na = 2\n", r"^line 3, 'a = 2': "),
        ("a = [" * 3000, r"too deep|^line 1"),
        ('a = "x', r"."),
    ],
)
def test_what_is_no_toml_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(text)
