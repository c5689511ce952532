"""Images with boxes as Pascal VOC has them: an XML file for each image.

Annotations/1.xml  JPEGImages/1.jpg  ImageSets/Main/train.txt     one name a line; without ImageSets all are of train
annotations/1.xml  images/1.png                                   other names of folders
train/1.xml  train/1.jpg  valid/...                               side by side
VOCdevkit/VOC2007/...                                             either of these folders may be given

Coordinates are taken as they are, as torchvision does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from ganaug.data.box_rows import BoxLayout, Entry, Faults, Row, part_of, text_of, upright_size
from ganaug.data.mask_files import image_files
from ganaug.errors import DataError

__all__ = ["VocLayout", "find_voc"]

_IMAGES = ("jpegimages", "images", "image", "imgs", "img")
_NAMES = ("classes.txt", "labels.txt", "names.txt")
_PARTS = ("train", "val", "test")
_LOOKED_AT = 16  # XML files, for one that is an annotation
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class VocPart:
    """Where the images of one part are, and what is said of them."""

    notes: Path
    """The folder of XML files."""
    images: Path
    stems: list[str]
    """Names, below both folders and without an ending."""


@dataclass
class VocLayout(BoxLayout):
    """Where each part is."""

    root: Path
    places: dict[str, VocPart]
    names: tuple[str, ...] | None = None
    form: str = field(default="voc", init=False)

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those that have a list or a folder."""
        return tuple(self.places)

    def entries(self, part: str, faults: Faults) -> Iterator[Entry]:
        """Every image of the part; each has an XML file."""
        place = self.places[part]
        files = {_stem(path, place.images): path for path in image_files(place.images)}
        by_name = {path.name: path for path in files.values()}
        for stem in place.stems:
            with faults.aside():
                note = place.notes / f"{stem}.xml"
                if not note.is_file():
                    raise DataError(f"{files.get(stem, place.images / stem)}: has no annotation file {note}")
                said = _read(note)
                image = files.get(stem) or by_name.get(Path(said.findtext("filename") or "").name)
                if image is None:
                    raise DataError(f"{note}: has no image {stem} in {place.images}")
                size = upright_size(image)
                _check_size(note, said, size)
                yield Entry(image, note, size, _rows(note, said, faults))


def _read(note: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text_of(note))
    except ElementTree.ParseError as error:
        raise DataError(f"{note}: is not valid XML ({error})") from error


def _check_size(note: Path, said: ElementTree.Element, size: tuple[int, int]) -> None:
    """Some files say no size, or one of 0, which tells nothing."""
    told = tuple(_whole_number(said.findtext(f"size/{side}")) for side in ("height", "width"))
    if all(told) and told != size:
        raise DataError(f"{note}: says {told[1]} x {told[0]} pixels, and its image has {size[1]} x {size[0]}")


def _whole_number(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _rows(note: Path, said: ElementTree.Element, faults: Faults) -> list[Row]:
    rows = []
    for number, thing in enumerate(said.findall("object"), 1):
        with faults.aside():
            name = (thing.findtext("name") or "").strip()
            place = f"{note} object {number}" + (f" ({name})" if name else "")
            if not name:
                raise DataError(f"{place}: has no name")
            texts = [(thing.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
            try:
                left, top, right, bottom = map(float, texts)
            except ValueError:
                raise DataError(
                    f"{place}: its bndbox says {', '.join(texts)}; wanted numbers for {', '.join(_SIDES)}"
                ) from None
            rows.append(Row(place, name, (left, top, right, bottom)))
    return rows


# Finding it


def find_voc(path: Path) -> VocLayout | None:
    """How a folder, or the VOCdevkit/VOC2007 in it, is laid out; none where not as Pascal VOC has it."""
    if not path.is_dir():
        return None
    within = [entry for entry in path.iterdir() if entry.is_dir() and entry.name.startswith("VOC")]
    if len(within) == 1:
        return find_voc(within[0])
    notes, images = _two_folders(path)
    listed = _listed(path / "ImageSets" / "Main")
    if listed and notes != path:
        places = {name: VocPart(notes, images, stems) for name, stems in listed.items()}
    elif notes == path and not any(path.glob("*.xml")):
        folders = {part_of(entry.name): entry for entry in sorted(path.iterdir()) if entry.is_dir()}
        found = {name: _whole(*_two_folders(folders[name])) for name in _PARTS if name in folders}
        places = {name: place for name, place in found.items() if place.stems}
    else:
        places = _by_folder(_whole(notes, images))
    if "train" not in places or not any(map(_is_annotation, _notes_of(places["train"]))):
        return None
    return VocLayout(path, places, _listed_names(path))


def _two_folders(path: Path) -> tuple[Path, Path]:
    """The folders of XML files and of images; the folder itself where they lie side by side."""
    inside = {entry.name.lower(): entry for entry in sorted(path.iterdir()) if entry.is_dir()}
    if "annotations" not in inside:
        return path, path
    return inside["annotations"], next((inside[name] for name in _IMAGES if name in inside), path)


def _notes_of(place: VocPart) -> list[Path]:
    return [place.notes / f"{stem}.xml" for stem in place.stems[:_LOOKED_AT]]


def _is_annotation(note: Path) -> bool:
    try:
        return "<annotation" in text_of(note)
    except DataError:
        return False


def _whole(notes: Path, images: Path) -> VocPart:
    """All images and XML files of two folders."""
    files = notes.glob("*.xml") if notes == images else notes.rglob("*.xml")
    stems = {_stem(file, notes) for file in files if not file.name.startswith(".")}
    if stems:
        stems |= {_stem(file, images) for file in image_files(images) if notes != images or file.parent == images}
    return VocPart(notes, images, sorted(stems))


def _by_folder(place: VocPart) -> dict[str, VocPart]:
    """Each part that has a folder within; all is of train where none has."""
    parts: dict[str, list[str]] = {}
    for stem in place.stems:
        parts.setdefault(part_of(stem.split("/")[0]) or "", []).append(stem)
    if "train" not in parts:
        return {"train": place} if place.stems else {}
    return {name: VocPart(place.notes, place.images, parts[name]) for name in _PARTS if name in parts}


def _listed(folder: Path) -> dict[str, list[str]]:
    """Names of the parts that ImageSets lists; trainval is the training part where there is no other."""
    if not folder.is_dir():
        return {}
    files = {file.stem.lower(): file for file in sorted(folder.glob("*.txt"))}
    files = {"train": files["trainval"], **files} if "trainval" in files else files
    return {
        name: [line.strip() for line in text_of(files[name]).splitlines() if line.strip()]
        for name in _PARTS if name in files
    }  # fmt: skip


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _listed_names(path: Path) -> tuple[str, ...] | None:
    file = next((path / name for name in _NAMES if (path / name).is_file()), None)
    if file is None:
        return None
    return tuple(line.strip() for line in text_of(file).splitlines() if line.strip())
