"""The lines of a TOML file's keys: every path that tomllib sees has a line, and it is the right one."""

from __future__ import annotations

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from certify.core.toml_lines import key_lines


def paths(value, path=()):
    """Every path of a parsed document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*path, key)
        yield from paths(item, (*path, key))


def test_all_kinds_of_syntax():
    text = '''# [no] = "section"
top = "a # b = [c]"  # comment
"quoted key".'x y' = 1
a.b.c = 2

[table]
many = [ # comment ]
  "one", 'tw"o',
  { inner = [1, 2], "s}" = "}" },

  """three
lines""", [[4],
  5.0]
]
basic = """a \\""" b
""""
literal = \'\'\'c:\\d\'\'\'
when = 1979-05-27 07:32:00Z

[[rows]]
k = 1
  [rows.sub]
  m = 2
[[rows]]
k = true
[ other . "dotted name" ]
z = nan
'''
    lines, data = key_lines(text), tomllib.loads(text)
    assert set(lines) == set(paths(data))
    expected = {
        ("top",): 2, ("quoted key", "x y"): 3, ("a", "b", "c"): 4, ("table",): 6, ("table", "many"): 7, ("table", "many", 0): 8, ("table", "many", 1): 8,
        ("table", "many", 2): 9, ("table", "many", 2, "inner", 1): 9, ("table", "many", 2, "s}"): 9, ("table", "many", 3): 11, ("table", "many", 4): 12,
        ("table", "many", 4, 0, 0): 12, ("table", "many", 4, 1): 13, ("table", "basic"): 15, ("table", "literal"): 17, ("table", "when"): 18,
        ("rows", 0): 20, ("rows", 0, "k"): 21, ("rows", 0, "sub", "m"): 23, ("rows", 1): 24, ("rows", 1, "k"): 25, ("other", "dotted name", "z"): 27,
    }  # fmt: skip
    assert {path: lines[path] for path in expected} == expected


keys = st.text("abc -_.#=[]\"'\n", min_size=1, max_size=4) | st.sampled_from(["x", "states", "x-1", "1"])
texts = st.text("ab #=[]{},\"'\\\n", max_size=6)
values = st.recursive(
    st.integers(-5, 5) | st.floats(-2, 2) | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def written(value) -> str:
    """A value as inline TOML; arrays over several lines."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {written(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + ", # ]\n".join(written(v) for v in value) + "\n]"
    if isinstance(value, str) and "'" not in value and "\\" not in value and value[-1:] != "\n":
        return f"'''\n{value}'''"
    return json.dumps(value)


@given(st.lists(st.tuples(keys, st.lists(st.tuples(keys, values), max_size=3, unique_by=lambda p: p[0])), max_size=4), st.booleans())
def test_every_path_has_its_line(sections, many):
    text, want = "", {}
    counts: dict[str, int] = {}
    for name, pairs in sections:
        if name in counts and not many:
            continue
        counts[name] = counts.get(name, -1) + 1
        text += f"[[{json.dumps(name)}]]\n" if many else f"[{json.dumps(name)}] # [x]\n"
        path = (name, counts[name]) if many else (name,)
        want[path] = text.count("\n")
        for key, value in pairs:
            want[(*path, key)] = text.count("\n") + 1
            text += f"{json.dumps(key)} = {written(value)}\n\n"
    lines = key_lines(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    assert {path: lines[path] for path in want} == want
