"""The files of `softplus.lab.files`: what is refused, and that a write is whole or nothing."""

import pytest

from softplus.lab import files
from softplus.lab.errors import UsageError


def test_a_folder_is_made_with_its_parents(tmp_path):
    files.prepare_folder("--out", tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*file/x cannot be written \(Not a directory\)"):
        files.prepare_folder("--out", tmp_path / "file" / "x")


@pytest.mark.parametrize("name", [".", "absent/file.json"])
def test_a_file_that_cannot_be_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"--json .* cannot be written"):
        files.check("--json", tmp_path / name)


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "report.md"
    files.write(path, "first")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "second, with half a surrogate pair: \ud800")
    assert path.read_text() == "first"
