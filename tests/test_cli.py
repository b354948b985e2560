# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, and the status it ends with. What a command finds is tested with its function."""

import io
import json
import re
import subprocess
import sys

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.cli.info import show
from elman.cli.screen import say, table_of, usage_errors
from elman.info import Framework, Info, Library

COMMANDS = ("fit", "predict", "runs", "compare", "diagnose", "export", "stream", "claims", "bench", "info")


def run(*arguments: str, code: str = "from elman.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_python_m_and_the_script_are_the_same_command():
    by_module = subprocess.run([sys.executable, "-m", "elman.cli", "--version"], capture_output=True, text=True)
    assert (by_module.returncode, by_module.stdout) == (0, f"elman {elman.__version__}\n")
    assert run("--version").stdout == run("-V").stdout == by_module.stdout


@pytest.mark.parametrize("arguments", [(), *((command,) for command in COMMANDS)])
def test_help_fits_a_screen_and_has_an_example(arguments):
    done = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) <= 17 + len(COMMANDS) or arguments  # a line for each command
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("...") for line in lines if line[:2] == "  ")
    assert any(line.strip().startswith("elman ") for line in lines)
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_explained(command):
    params = typer.main.get_command(app).commands[command].params
    assert [param.name for param in params if not (param.help or param.hidden)] == []
    short, long = (CliRunner().invoke(app, [command, option]) for option in ("-h", "--help"))
    assert short.stdout == long.stdout != ""


def test_the_options_of_fit_are_in_groups():
    lines = CliRunner().invoke(app, ["fit", "-h"]).stdout.splitlines()
    headings = [line for line in lines if re.fullmatch(r"\w.*:", line)]
    assert headings == [
        "Arguments:",
        "The table:",
        "To classify:",
        "The forecasts and the model:",
        "The run:",
        "Options:",
    ]


@pytest.mark.parametrize(
    ("typed", "found"), [("elman pre", "predict"), ("elman fit --cel", "--cell"), ("elman fit --data wa", "walk")]
)
def test_the_shell_completes_commands_options_and_their_words(typed, found):
    words = {"_ELMAN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    assert found in CliRunner().invoke(app, [], prog_name="elman", env=words).stdout.split()


def test_help_lists_every_command():
    listed = run("--help").stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line[:2] == "  " and line[2] != " "] == list(COMMANDS)


@pytest.mark.parametrize("arguments", [("nonsense",), ("info", "--nonsense")])
def test_a_wrong_word_ends_with_status_2(arguments):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "nonsense" in done.stderr
    assert isinstance(done.exception, SystemExit)  # no other error


@pytest.mark.parametrize("missing", ["typer", "rich", "polars", "matplotlib"])
def test_without_what_it_needs_the_command_says_how_to_get_them(missing):
    done = run("info", code=f"import sys; sys.modules[{missing!r}] = None; from elman.cli import main; main()")
    assert done.returncode == 2
    assert f"needs {missing}" in done.stderr
    assert 'python -m pip install "elman[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def found():
    return Info(
        elman="1.2.3",
        python="3.11.7",
        platform="Linux-x86_64",
        numpy="2.4.6",
        keras=None,
        library=Library("1.2.3", "avx2", ["baseline", "avx2"], 4),
        frameworks=[
            Framework("numpy", "2.4.6", True, None),
            Framework("torch", None, False, "not installed"),
            Framework("jax", "0.10.2", False, "the arrays are on [gpu:0], and the native path runs on the CPU"),
        ],
    )


NAMES = ["speed [m/s]", "rate [/s]", "[b]", "[/]", ":smile:", "[link=http://x]y", "$x$", "a\\[b]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(name):
    output = io.StringIO()
    console = Console(file=output, width=100, highlight=False, force_terminal=True, color_system="truecolor")
    console.print(table_of(("model", name), [("1", name)]))
    say(console, [name])
    assert output.getvalue().count(name) == 3


@pytest.mark.parametrize(
    ("text", "printed"), [("a\x1b[31mb", r"a\x1b[31mb"), ("a\nb\tc", r"a\nb\tc"), ("\x9b2J", r"\x9b2J")]
)
def test_a_name_does_not_control_the_terminal(text, printed, capsys):
    output = io.StringIO()
    console = Console(file=output, width=100, highlight=False)
    console.print(table_of(("model", text), [("1", text)]))
    say(console, [text])
    with pytest.raises(typer.Exit), usage_errors():
        raise elman.DataError(f"column {text}\x1b")
    assert output.getvalue().count(printed) == 3
    error = capsys.readouterr().err
    assert "\x1b" not in error + output.getvalue()
    assert len(error.splitlines()) == 1


def test_the_former_name_of_cell_is_taken_with_a_warning(tmp_path):
    (tmp_path / "data.csv").write_text("temp\n1\n2\n")
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "data.csv"), "--layer", "GURU"])
    first, second = done.stderr.splitlines()
    assert first == "elman: --layer is now --cell; --layer will be removed."
    assert second.startswith("elman: cell is 'GURU'")
    assert done.exit_code == 2


def test_info_prints_one_line_per_framework_and_no_colour_off_a_terminal(found):
    screen = io.StringIO()
    show(found, Console(file=screen, width=200))
    lines = [line.split(maxsplit=2) for line in screen.getvalue().splitlines()]
    assert ["NumPy", "2.4.6", "works"] in [[word.strip() for word in line] for line in lines]
    assert "PyTorch" in screen.getvalue()
    assert "not installed" in screen.getvalue()
    assert "the arrays are on [gpu:0], and the native path runs on the CPU" in screen.getvalue()
    assert "avx2 in use, of baseline, avx2; 4 threads" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_info_json_parses_and_says_the_same_as_the_table(found, monkeypatch):
    monkeypatch.setattr("elman.cli.info.collect", lambda: found)
    done = CliRunner().invoke(app, ["info", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["elman"] == "1.2.3"
    assert [framework["name"] for framework in said["frameworks"]] == ["numpy", "torch", "jax"]
    assert set(said) == {"elman", "python", "platform", "numpy", "keras", "library", "frameworks"}
