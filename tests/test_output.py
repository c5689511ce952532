import contextlib

import pytest

from ganaug.errors import OutputError
from ganaug.output import MARK, check_file, check_folder, check_writable, make_folder, write_text, written_beside


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "a.txt", "кошка\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "кошка\r\n".encode()


def test_what_fails_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with contextlib.suppress(ZeroDivisionError), written_beside(tmp_path / "a.txt") as beside:
        beside.write_text("new")
        raise ZeroDivisionError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path, "a folder is no file")
    with pytest.raises(OutputError, match="Not a directory"):
        write_text(tmp_path / "a.txt" / "b.txt", "")


def test_checks_make_nothing(tmp_path):
    check_file(tmp_path / "a" / "b.png", exist_ok=False)
    check_folder(tmp_path / "a" / "b", exist_ok=False)
    check_writable(tmp_path / "a" / "b" / "c")
    assert not list(tmp_path.iterdir())


def test_what_may_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    for refused in (
        lambda: check_file(tmp_path, exist_ok=True),
        lambda: check_file(tmp_path / "file", exist_ok=False),
        lambda: check_file(tmp_path / "file" / "x", exist_ok=True),
        lambda: check_folder(tmp_path, exist_ok=False),
        lambda: check_folder(tmp_path / "file", exist_ok=True),
        lambda: check_folder(tmp_path / "file" / "x", exist_ok=True),
        lambda: check_folder(tmp_path / "x", exist_ok=True, apart_from=tmp_path / "y" / ".." / "x"),
    ):
        with pytest.raises(OutputError):
            refused()
    check_file(tmp_path / "file", exist_ok=True)
    check_folder(tmp_path, exist_ok=True)


def test_only_folders_that_were_not_there_are_marked(tmp_path):
    assert (make_folder(tmp_path / "a" / "new") / MARK).is_file()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "1.png").write_bytes(b"")
    make_folder(tmp_path / "theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["1.png"]
    with pytest.raises(OutputError, match="cannot be made"):
        make_folder(tmp_path / "theirs" / "1.png")
