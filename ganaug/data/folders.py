"""A folder of class folders, or a CSV file of paths and labels, as a dataset of images.

    DIR/cat/1.jpg  DIR/dog/2.png            class folders, searched to any depth
    DIR/train/cat/1.jpg  DIR/test/...       the train part is used, the others are never touched
    pets.csv: path,label                    paths relative to the file

Class names are data: folder names as they are, or labels as the CSV says them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ganaug.data.class_names import choose_classes
from ganaug.data.images import open_image
from ganaug.data.tables import read_table
from ganaug.errors import DataError
from ganaug.output import MARK

__all__ = ["ImageFiles", "list_all", "list_images", "open_folder"]

_LAYOUT = "wanted class folders, as cat/1.jpg and dog/2.jpg, or train/cat/1.jpg, or a CSV file of path and label"
# registered by Pillow for writing, for vectors and video, or as stubs that only another library can read
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
_IGNORED = {"__MACOSX", "__pycache__"}


@dataclass(frozen=True)
class ImageFiles:
    """A map-style dataset of (PIL image, class number), each file opened when it is asked for."""

    root: Path
    classes: list[str]
    targets: list[int]
    paths: list[Path]
    skipped: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_image(self.paths[index]), self.targets[index]


def open_folder(path: str | Path, *, on_bad: str = "stop") -> ImageFiles:
    """The images of a folder of class folders, of its `train` part, or of a CSV file.

    Args:
        path: the folder or CSV file.
        on_bad: "stop" raises when a file that cannot be opened is read; "skip" opens each once here, leaves the bad
            ones out and lists them in `skipped`.

    Raises:
        DataError: nothing is there, or it is not laid out as wanted; the message says what was found.
    """
    files = list_images(path, on_bad=on_bad)
    return files if on_bad == "stop" else _without_bad(files)


def list_images(path: str | Path, *, on_bad: str = "stop", classes: Sequence[str] | None = None) -> ImageFiles:
    """As `open_folder`, of the named classes only (numbered among all), and without opening an image."""
    if on_bad not in {"stop", "skip"}:
        raise DataError(f"on_bad is {on_bad!r}; choose from: stop, skip")
    path = Path(path)
    try:
        path = path.expanduser()
        if path.is_dir():
            return _list_folder(path, classes)
        if path.is_file() and path.suffix.lower() in {".csv", ".tsv"}:
            return _list_table(path, on_bad, classes)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of nobody's home
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if path.exists():
        raise DataError(f"{path} is a file; {_LAYOUT}")
    raise DataError(f"there is no folder or file {path}; {_LAYOUT}")


def list_all(path: str | Path, name: str) -> ImageFiles:
    """Every image below a folder, however it is laid out, or in a CSV file, as one class `name`; none is opened.

    Of a folder that has a part `train` with images, that part alone: what lies beside it may be for scores.

    Raises:
        DataError: nothing is there, or no image.
    """
    path = Path(path)
    try:
        path = path.expanduser()
        if path.is_dir():
            root = next((entry for entry in sorted(path.iterdir()) if _is_train(entry)), path)
            paths = sorted(_images_below(root, {*map(str, Path(os.path.realpath(root)).parents)}))
            if not paths:
                raise DataError(f"{root} holds no images, in no folder below it; give a folder of images")
            return ImageFiles(root, [name], [0] * len(paths), paths, [])
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    files = list_images(path)
    return ImageFiles(files.root, [name], [0] * len(files), files.paths, files.skipped)


def _is_train(entry: Path) -> bool:
    return entry.name.lower() == "train" and entry.is_dir() and _holds_image(entry, set())


def _without_bad(files: ImageFiles) -> ImageFiles:
    good, skipped = [], list(files.skipped)
    for index, path in enumerate(files.paths):
        try:
            open_image(path)
        except DataError as error:
            skipped.append(str(error))
        else:
            good.append(index)
    targets = [files.targets[index] for index in good]
    for number in sorted(set(files.targets) - set(targets)):
        raise DataError(f"class {files.classes[number]!r}: none of its images can be opened; the first: {skipped[0]}")
    return ImageFiles(files.root, files.classes, targets, [files.paths[index] for index in good], skipped)


def _list_folder(folder: Path, wanted: Sequence[str] | None) -> ImageFiles:
    root = _train_part(folder)
    folders = _class_folders(root)
    if not folders:
        raise DataError(f"{root} holds {_found(root)}; {_LAYOUT}")
    names = sorted(folders)
    chosen = set(choose_classes(names, wanted))
    paths, targets = [], []
    for number, name in enumerate(names):
        if name in chosen:
            inside = sorted(_images_below(folders[name], _closed(root, folders, name)))
            paths += inside
            targets += [number] * len(inside)
    empty = [name for number, name in enumerate(names) if name in chosen and number not in set(targets)]
    if len(empty) == len(chosen):
        raise DataError(f"{root} holds no images in its folders ({_some(empty)}); {_LAYOUT}")
    if empty:
        raise DataError(f"no images in {_some(empty)} of {root}; remove the folder, or name the classes wanted")
    return ImageFiles(root, names, targets, paths, [])


def _train_part(folder: Path) -> Path:
    for entry in sorted(folder.iterdir()):
        if entry.name.lower() == "train" and entry.is_dir():
            inside = _class_folders(entry)
            if any(_holds_image(inside[name], _closed(entry, inside, name)) for name in inside):
                return entry
    return folder


def _class_folders(root: Path) -> dict[str, Path]:
    return {entry.name: entry for entry in root.iterdir() if not _ignored(entry.name) and _is_class(entry)}


def _is_class(entry: Path) -> bool:
    """Whether it is a folder, and none that ganaug wrote: run in the data, `ganaug fit` leaves NAME.run there."""
    return _is_folder(entry) and not (entry / MARK).exists()


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link that loops
        return False


def _closed(root: Path, folders: dict[str, Path], name: str) -> set[str]:
    """Real paths that a search of class `name` must not enter by a link: what is above it, and the other classes."""
    above = os.path.realpath(root)
    others = {os.path.realpath(folder) for folder in folders.values()} - {os.path.realpath(folders[name])}
    return {above, *map(str, Path(above).parents), *others}


def _images_below(folder: Path, closed: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in closed:
        return
    closed.add(real)
    for entry in sorted(folder.iterdir()):
        if _ignored(entry.name):
            continue
        if _is_folder(entry):
            if not (entry / MARK).exists():  # pictures that ganaug drew
                yield from _images_below(entry, closed)
        elif entry.suffix.lower() in _image_suffixes() and (entry.is_symlink() or entry.is_file()):
            yield entry  # a link that leads nowhere too: it is named when it is opened


def _holds_image(folder: Path, closed: set[str]) -> bool:
    return next(_images_below(folder, closed), None) is not None


@functools.cache
def _image_suffixes() -> frozenset[str]:
    suffixes = Image.registered_extensions()
    return frozenset(s for s, form in suffixes.items() if form in Image.OPEN and form not in _NO_PICTURES)


def _found(root: Path) -> str:
    loose = [entry for entry in root.iterdir() if not _ignored(entry.name) and not _is_folder(entry)]
    images = sum(entry.suffix.lower() in _image_suffixes() for entry in loose)
    if images:
        return f"{images} images but no class folders"
    return f"{len(loose)} files, none an image, and no folders" if loose else "nothing"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _list_table(path: Path, on_bad: str, wanted: Sequence[str] | None) -> ImageFiles:
    rows = read_table(path)
    names = sorted({row.label for row in rows})
    chosen = set(choose_classes(names, wanted))
    numbers = {name: number for number, name in enumerate(names)}
    paths, targets = [], []
    for row in rows:
        if row.label not in chosen:
            continue
        image = path.parent / row.path
        if on_bad == "stop" and not image.is_file():
            raise DataError(f"{path} row {row.number}: there is no file {image}; mend the row, or skip such rows")
        paths.append(image)
        targets.append(numbers[row.label])
    return ImageFiles(path, names, targets, paths, [])
