# SPDX-License-Identifier: Apache-2.0
"""Writing whole files: what a path names before decides what is written to, and it keeps its kind, mode and owner."""

import os
import stat

import pytest

from elman import DataError, files


def kind(path):
    return stat.S_IFMT(os.lstat(path).st_mode)


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path):
    path = tmp_path / "out.csv"
    files.write(path, "old")
    path.chmod(0o640)
    files.write(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path, exists):
    link, target = tmp_path / "link", tmp_path / "folder" / "real"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    files.write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_read_only_file_is_left_alone(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(DataError, match="out.csv cannot be written: the file is read-only. Choose another path.$"):
        files.write(path, "new")
    with pytest.raises(DataError, match="the file is read-only"):
        files.check(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.csv"]


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(DataError, match="pipe cannot be written: nothing reads from it"):
        files.write(path, "lost")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    files.write(path, "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert kind(path) == stat.S_IFIFO
    assert names(tmp_path) == ["pipe"]


def test_a_device_is_written_to():
    ours, theirs = os.openpty()  # a terminal is a device that every user may have
    name = os.ttyname(theirs)
    files.write(files.Path(name), "new")
    assert os.read(ours, 10) == b"new"
    assert kind(name) == stat.S_IFCHR
    os.close(ours)
    os.close(theirs)


def test_a_folder_is_refused(tmp_path):
    for what in (files.check, lambda path: files.write(path, "new")):
        with pytest.raises(DataError, match="cannot be written: Is a directory"):
            what(tmp_path / ".")


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(to):
        to.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_with(path, fail)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.csv"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "out.csv"

    def write(to):
        to.write_text("first")
        files.write(path, "second, whole")
        assert to.read_text() == "first"

    files.write_with(path, write)
    assert path.read_text() == "first"
    assert names(tmp_path) == ["out.csv"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    gone = 2**22 + 1  # above the largest number of a process
    living = os.getppid()
    for name in (f"{files.PREFIX}{gone}-ab-x", f"{files.PREFIX}{living}-ab-x", f"{files.PREFIX}run.json", "mine"):
        (tmp_path / name).touch()
    files.clear(tmp_path)
    assert sorted(names(tmp_path)) == [f"{files.PREFIX}{living}-ab-x", "mine"]


@pytest.mark.parametrize("refusals", [3, 100])
def test_windows_lets_a_file_be_replaced_when_no_other_program_reads_it(refusals, tmp_path, monkeypatch):
    replace, refused = files.Path.replace, iter(range(refusals))

    def busy(path, target):
        if next(refused, None) is not None:
            raise PermissionError(13, "Access is denied")
        replace(path, target)

    monkeypatch.setattr(files.sys, "platform", "win32")
    monkeypatch.setattr(files.Path, "replace", busy)
    monkeypatch.setattr(files, "_WAITS", (0, 0, 0))
    if refusals > 3:
        with pytest.raises(DataError, match="out.csv cannot be written: Access is denied"):
            files.write(tmp_path / "out.csv", "new")
    else:
        files.write(tmp_path / "out.csv", "new")
    assert names(tmp_path) == ["out.csv"] * (refusals == 3)
