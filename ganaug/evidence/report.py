"""The report: one HTML page that holds all it shows, and the same as JSON.

    bank, run folder -> findings.find -> page.py, charts.py (what to show) and gallery.py (pictures) -> report.html.j2

The page asks for nothing from elsewhere: its styles, charts and pictures are in it, and it runs no script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ganaug import __version__
from ganaug.bank import GeneratorBank, load
from ganaug.data import LabelledImages
from ganaug.errors import OutputError
from ganaug.evidence import page, wording
from ganaug.evidence.exams import get_exam
from ganaug.evidence.explored import without_pictures
from ganaug.evidence.findings import Findings, find
from ganaug.evidence.gallery import Gallery, Picture, draw_pairs, draw_samples, only_fitted
from ganaug.output import check_file, make_folder, write_text
from ganaug.planning import OnBad
from ganaug.run_folder import check_results

__all__ = ["report"]

_COLUMNS = 8  # samples of a class
_BAND = 20  # samples below the verdict
_MOST_DROPPED = 24  # pictures of a reason
_PRINTS = ("train_fingerprints", "held_back_fingerprints", "train_perceptual", "held_back_perceptual")


def report(
    bank_path: str | Path,
    *,
    data: Any = None,
    out: str | Path | None = None,
    raw: Any = None,
    on_bad: OnBad = "stop",
    exist_ok: bool = False,
) -> Path:
    """Write all that is known of a bank as one self-contained HTML page, and beside it the same as JSON.

    What `ganaug compare`, `screen`, `measure` and `explore` left in the run folder beside the bank is shown; for what
    has not been measured the page names the command that would measure it.

    Args:
        bank_path: the bank, NAME.ganaug; NAME.run is its run folder.
        data: the training images, as `fit` takes them: the nearest of them are shown beneath the samples; of images
            with boxes, given as files, scenes made of them. Only those that the bank was fitted on are looked at.
        out: the page to write, and `out` with .json; by default NAME.run/report.html, which is written anew.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        on_bad: an unreadable image: "stop" or "skip".
        exist_ok: write to `out` though it is there.

    Returns:
        The path of the page.

    Raises:
        BankError: the file is no bank.
        DataError: `data` holds no image that the bank was fitted on, or a result in the run folder is damaged.
        OutputError: the page cannot be written.
    """
    path = Path(bank_path)
    bank = load(path)
    exam = get_exam(bank.task)
    goal, beside = _goal(path, out, exist_ok)
    found = find(bank, path.with_suffix(".run"))
    real = None if data is None else only_fitted(exam.read(data, bank, None, what="data", on_bad=on_bad, raw=raw), bank)
    source = Path(data) if isinstance(data, str | Path) else None
    gallery = exam.gallery(bank, _COLUMNS, real, data)
    shown = _shown(path, bank, found, real, source, gallery)
    text = json.dumps(_told(bank, found, shown), indent=2, ensure_ascii=False)
    html = _template().render(shown)
    if out is None:
        make_folder(goal.parent)
    write_text(goal, html)
    write_text(beside, text)
    return goal


def _goal(bank_path: Path, out: str | Path | None, exist_ok: bool) -> tuple[Path, Path]:
    """The page and its JSON; that both can be written is made sure of before any work."""
    goal = Path(out) if out is not None else bank_path.with_suffix(".run") / "report.html"
    beside = goal.with_suffix(".json")
    if beside == goal:
        raise OutputError(f"{goal} is the name of the page's JSON; give --out the name of a page, as report.html")
    if out is None:
        check_results(bank_path)
    for path in (goal, beside):
        check_file(path, exist_ok=exist_ok or out is None)
    return goal, beside


def _shown(
    path: Path, bank: GeneratorBank, found: Findings, real: LabelledImages | None, source: Path | None, gallery: Gallery
) -> dict[str, Any]:
    """All that the template shows."""
    exam = get_exam(bank.task)
    commands = {name: told for name, told in page.commands(path, found, source).items() if name in exam.commands}
    galleries = gallery.samples
    return {
        "version": __version__,
        "title": path.stem,
        "bank": bank,
        "found": found,
        "headline": page.headline(bank.verdict, found.comparison),
        "verdict": bank.verdict,
        "gain": page.gain_chart(bank.verdict, found.comparison),
        "sweep": page.sweep_chart(found.comparison),
        "further": page.further_rows(found.comparison),
        "classical": page.classical_chart(found.comparison),
        "changes": page.change_chart(found.comparison),
        "band": [pictures[column] for column in range(_COLUMNS) for pictures in galleries.values()][:_BAND],
        "galleries": galleries,
        "pictured": gallery.told,
        "scenes": gallery.scenes,
        "more_classes": max(0, len(bank.class_names) - len(galleries)) if len(galleries) > 1 else 0,
        "metric": bank.verdict.metric if bank.verdict is not None else "score",
        "tallies": page.tally_rows(found.screening),
        "dropped": _dropped(bank, found, real),
        "measured": page.measure_rows(found.measures),
        "curves": page.curves(found.training),
        "done": page.settings_rows(bank, found.comparison),
        "recipe": yaml.safe_dump(bank.manifest.recipe, sort_keys=False, allow_unicode=True),
        "commands": commands,
        "missing": _missing(bank, found, real, commands),
        "reasons": page.reasons(found.screening),
    }


def _dropped(bank: GeneratorBank, found: Findings, real: LabelledImages | None) -> dict[str, list[Picture]]:
    """For each reason some samples that were dropped for it, taken from the classes in turn."""
    if found.screening is None:
        return {}
    dropped = {}
    for reason in page.REASONS:
        seed, beneath = found.screening.seed, real if reason == "copy" else None
        examples = {name: of.get(reason, []) for name, of in found.screening.examples.items()}
        if bank.task == "segment":
            pictures = draw_pairs(bank, examples.get("images", []), seed=seed)
        else:
            picked = _in_turn({name: of for name, of in examples.items() if name in bank.class_names})
            pictures = [
                picture
                for name, indices in picked.items()
                for picture in draw_samples(bank, name, indices, seed=seed, real=beneath)
            ]
        if pictures:
            dropped[reason] = pictures
    return dropped


def _in_turn(examples: dict[str, list[int]]) -> dict[str, list[int]]:
    """At most `_MOST_DROPPED` of all, the first of each class before the second of any."""
    order = [
        (place, number, name, index)
        for number, (name, indices) in enumerate(examples.items())
        for place, index in enumerate(indices)
    ]
    picked: dict[str, list[int]] = {}
    for _, _, name, index in sorted(order)[:_MOST_DROPPED]:
        picked.setdefault(name, []).append(index)
    return {name: picked[name] for name in examples if name in picked}


def _missing(
    bank: GeneratorBank, found: Findings, real: LabelledImages | None, commands: dict[str, str]
) -> list[dict[str, str]]:
    """What has not been measured, with the command that would measure it."""
    compared = (
        ("Not measured yet", "Whether it helps, against what controls, and which classes it harms.")
        if bank.verdict is None
        else ("Not kept beside the bank", "The single figures of the comparison; its verdict is in the bank.")
    )
    asked = {
        "compare": (found.comparison, *compared),
        "screen": (found.screening, "Not measured yet", "Which samples are not fit to train on, and why."),
        "measure": (
            found.measures, "Not measured yet", "How close the samples are to real images, and whether they are copies."
        ),
        "explore": (
            found.exploration, "Not explored yet", "Along which directions its samples differ, and what each changes."
        ),
        "report": (real, "Without the training images", "The samples beside the images they were learned from."),
    }  # fmt: skip
    return [
        {"name": name, "title": title, "what": what, "command": commands[name]}
        for name, (there, title, what) in asked.items()
        if there is None and name in commands
    ]


def _told(bank: GeneratorBank, found: Findings, shown: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON: everything but the pictures."""
    manifest = bank.manifest.model_dump(mode="json", exclude={"verdict", *_PRINTS})
    galleries: dict[str, Sequence[Picture]] = shown["galleries"]
    return {
        "ganaug": __version__,
        "headline": asdict(shown["headline"]),
        "bank": {"fingerprint": bank.fingerprint, **manifest},
        "verdict": None if bank.verdict is None else bank.verdict.model_dump(mode="json"),
        "comparison": found.raw.get("compare"),
        "screening": found.raw.get("screen"),
        "measures": found.raw.get("measure"),
        "exploration": without_pictures(found.raw.get("explore")),
        "training": {
            log.name: {
                name: [value if value == value else None for value in values] for name, values in log.columns.items()
            }
            for log in found.training
        },
        "samples": {
            name: [{"index": picture.index, "apart": picture.apart} for picture in pictures]
            for name, pictures in galleries.items()
        },
        "missing": shown["missing"],
        "notes": list(found.notes),
    }


def _template() -> jinja2.Template:
    home = files("ganaug.evidence")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: home.joinpath(name).read_text("utf-8")),
        autoescape=True,  # class names are data
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        filter.__name__: filter
        for filter in (wording.percent, wording.points, wording.figure, wording.sentence, wording.capital)
    }
    environment.globals["measure_name"] = page.measure_name
    return environment.get_template("report.html.j2")
