import shutil
from pathlib import Path

import pytest
from PIL import Image

from ganaug.data import open_folder
from ganaug.errors import DataError
from ganaug.output import make_folder


def _names(files):
    return [f"{files.classes[t]}/{p.name}" for p, t in zip(files.paths, files.targets, strict=True)]


def test_class_folders_become_numbered_classes(pets):
    files = open_folder(pets)
    assert files.classes == ["cat", "dog"]
    assert files.targets == [0] * 4 + [1] * 4
    assert _names(files)[:2] == ["cat/0.png", "cat/1.png"]
    assert len(files) == 8
    image, label = files[5]
    assert isinstance(image, Image.Image)
    assert (image.size, label) == ((25, 20), 1)


def test_any_suffix_of_an_image_at_any_depth_and_nothing_hidden(pets, draw):
    deep = pets / "cat" / "more" / "still more"
    deep.mkdir(parents=True)
    for name in ("a.JPG", "b.webp", "c.TIFF", "d.gif", "e.bmp"):
        draw(1).save(deep / name)
    draw(1).save(deep / ".hidden.png")
    (deep / "notes.txt").write_text("x")
    (deep / "letter.pdf").write_text("x")
    (pets / ".cache").mkdir()
    draw(1).save(pets / ".cache" / "x.png")
    (pets / "readme.md").write_text("x")
    files = open_folder(pets)
    assert files.classes == ["cat", "dog"]
    assert [p.name for p in files.paths if "still more" in str(p)] == ["a.JPG", "b.webp", "c.TIFF", "d.gif", "e.bmp"]


def test_the_train_part_is_used_and_the_others_left_alone(pets, tmp_path, draw):
    root = tmp_path / "split"
    shutil.copytree(pets / "cat", root / "train" / "cat")
    for part in ("train", "val", "test"):
        (root / part / "cat").mkdir(parents=True, exist_ok=True)
        draw(99).save(root / part / "cat" / f"{part}.png")
    files = open_folder(root)
    assert files.root == root / "train"
    assert files.classes == ["cat"]
    assert len(files) == 5
    assert all("train" in p.parts for p in files.paths)


def test_a_class_may_be_called_train(tmp_path, draw):
    for name in ("car", "train"):
        (tmp_path / name).mkdir()
        draw(1).save(tmp_path / name / "1.png")
    assert open_folder(tmp_path).classes == ["car", "train"]


def test_what_a_fit_left_here_is_no_class(pets, draw):
    make_folder(pets / "cat-dog.run")
    draw(1).save(pets / "cat-dog.run" / "grid.png")
    (pets / "cat-dog.ganaug").write_bytes(b"x")
    (pets / "home.run").mkdir()
    draw(1).save(pets / "home.run" / "1.png")
    assert open_folder(pets).classes == ["cat", "dog", "home.run"]


def test_links_that_loop_or_lead_out_end(pets, draw):
    (pets / "cat" / "up").symlink_to(pets, target_is_directory=True)
    (pets / "cat" / "self").symlink_to(pets / "cat", target_is_directory=True)
    (pets / "cat" / "dogs").symlink_to(pets / "dog", target_is_directory=True)
    (pets / "cat" / "above").symlink_to(pets.parent, target_is_directory=True)
    (pets / "round").symlink_to(pets / "round")
    assert _names(open_folder(pets)) == [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(4)]


def test_a_class_folder_may_be_a_link(pets, tmp_path, draw):
    away = tmp_path / "elsewhere"
    away.mkdir()
    draw(1).save(away / "1.png")
    (pets / "emu").symlink_to(away, target_is_directory=True)
    assert _names(open_folder(pets))[-1] == "emu/1.png"


@pytest.mark.parametrize("name", ["tabby cat", "кошка", "犬", "a..b", "-x"])
def test_class_names_are_folder_names_as_they_are(tmp_path, draw, name):
    (tmp_path / name).mkdir()
    draw(1).save(tmp_path / name / "1.png")
    assert open_folder(tmp_path).classes == [name]


def _said(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        open_folder(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_not_as_wanted_says_what_was_found(tmp_path, draw):
    assert "there is no folder or file" in _said(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds nothing; wanted class folders" in _said(empty)
    (empty / "a.txt").write_text("x")
    assert "1 files, none an image" in _said(empty)
    assert "is a file; wanted" in _said(empty / "a.txt")
    draw(1).save(empty / "b.png")
    assert "1 images but no class folders; wanted class folders, as cat/1.jpg" in _said(empty)
    (empty / "cat").mkdir()
    assert "no images in its folders ('cat')" in _said(empty)
    (empty / "dog").mkdir()
    draw(1).save(empty / "dog" / "b.png")
    assert "no images in 'cat'" in _said(empty)
    assert "choose from: stop, skip" in _said(empty, on_bad="ignore")


def test_bad_files_stop_when_read_or_are_skipped_and_listed(pets):
    bad = pets / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:60])
    (pets / "dog" / "zero.jpg").touch()
    (pets / "dog" / "lost.jpg").symlink_to(pets / "gone.jpg")
    files = open_folder(pets)
    assert len(files) == 10
    with pytest.raises(DataError, match=r"cat/1\.png: is cut short"):
        files[1]
    files = open_folder(pets, on_bad="skip")
    assert _names(files) == ["cat/0.png", "cat/2.png", "cat/3.png", *(f"dog/{i}.png" for i in range(4))]
    assert len(files.skipped) == 3
    assert str(bad) in files.skipped[0]
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    assert "class 'cat': none of its images can be opened" in _said(pets, on_bad="skip")


def _table(pets: Path, text: str) -> Path:
    path = pets / "table.csv"
    path.write_text(text, "utf-8")
    return path


def test_a_table_of_paths_and_labels(pets):
    labels = ["big/cat", "..", "犬 dog", "big/cat"]
    rows = [f'cat/{i}.png,"{label}",x' for i, label in enumerate(labels)]
    files = open_folder(_table(pets, "\ufeffFile,Class,note\n" + "\n".join(rows)))
    assert files.classes == ["..", "big/cat", "犬 dog"]
    assert files.targets == [1, 0, 2, 1]
    assert files[3][0].size == (27, 20)
    files = open_folder(_table(pets, f"target;filename\na;{pets / 'cat' / '0.png'}\n"))
    assert (files.classes, files[0][1]) == (["a"], 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "row 1: no column named path, file, filename or image; the header says: nothing"),
        ("path,kind\na,b\n", "row 1: no column named label, class or target; the header says: path, kind"),
        ("path,label\n", "holds no rows"),
        ("path,label\ncat/0.png,cat\ncat/none.png,cat\n", "row 3: there is no file"),
        ("path,label\ncat/0.png\n", "row 2: the label is empty"),
        ("path,label\n,cat\n", "row 2: the path is empty"),
    ],
)
def test_a_wrong_table_names_the_row(pets, text, said):
    assert said in _said(_table(pets, text))


def test_a_table_that_is_no_text(pets):
    path = pets / "table.csv"
    path.write_bytes(b"path,label\n\xff\xfe\x00,x\n")
    assert "cannot be read as CSV" in _said(path)


def test_rows_without_a_file_can_be_skipped(pets):
    path = _table(pets, "path,label\ncat/0.png,cat\ncat/none.png,cat\n")
    files = open_folder(path, on_bad="skip")
    assert len(files) == 1
    assert "none.png: does not exist" in files.skipped[0]
