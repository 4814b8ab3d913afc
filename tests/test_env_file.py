"""Files of variables: what they may hold, and that they never override anything."""

import pytest

from botvisor.config import add_env_file
from botvisor.config.env_file import read_env_file
from botvisor.errors import SettingsError


def written(tmp_path, text):
    path = tmp_path / "bot.env"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A = b c  # a comment", "b c"),
        ("A=b#c", "b#c"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A='$b \\n # c' # d", "$b \\n # c"),
        ('A="b \\"c\\"\\n"', 'b "c"\n'),
        ("A=redis://u:p@h:1/0?x=y", "redis://u:p@h:1/0?x=y"),
    ],
)
def test_a_line_gives_a_variable_its_value(tmp_path, line, value):
    assert read_env_file(written(tmp_path, f"# first\n\n{line}\n")) == {"A": value}


@pytest.mark.parametrize("line", ["secret", "A='secret", 'A="secret" more', "1A=secret"])
def test_a_bad_line_is_named_by_its_number_and_not_shown(tmp_path, line):
    with pytest.raises(SettingsError) as caught:
        read_env_file(written(tmp_path, f"B=1\n{line}\n"))
    assert "line 2" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_env_file(tmp_path / "nothing")


def test_what_is_set_already_stays_even_if_it_is_empty(tmp_path):
    environ = {"A": "old", "B": ""}
    add_env_file(written(tmp_path, "A=new\nB=new\nC=new\n"), environ)
    assert environ == {"A": "old", "B": "", "C": "new"}
