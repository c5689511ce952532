r"""ganaug: conditional GANs trained on your own few images, mixed in with one line, only where it helps.

    real dataset -> fit -> bank -> pool -> screening -> GanAugmented -> the user's trainer
                            \-> measure, compare (does it help?) -> verdict kept in the bank -> report

The house, from the floor up; each part imports only from parts above it in this list:

    errors.py      GanaugError and its children: what was got, what was wanted, what to do
    recipe.py      what a recipe may say: typed, validated; YAML in, resolved YAML out; recipe_sections.py, the
                   settings of a fit, recipe_use.py, of what is done with its bank
    output.py      where results are written, and never over what the user has
    compositing/   arrays only: new label maps from real ones, objects cut out and recombined, grounds filled in;
                   tiles.py, images of any size made of overlapping tiles; holes.py, holes drawn at random, and
                   hole_windows.py, where a hole is looked at and at which scale
    measures/      tensors only: features, kernel distance, precision, recall, density, coverage, copies, spread
    data/          real labelled images in: folders, CSV files and any user's dataset read below its transform;
                   images with masks: mask_files.py on disk, mask_view.py a user's dataset, masks.py as read
                   images of two domains: domains.py;
                   images with boxes: box_files.py on disk, by box_yolo.py, box_voc.py and box_coco.py;
                   box_view.py a user's dataset and the scenes made of it, objects.py crops of single objects;
                   copy_paste.py, a dataset with more of its own objects pasted in;
                   images alone, whatever their labels: pictures.py;
                   with where their objects are: marked.py, and squares cut from them, fillable.py
    gan/           tensors only: networks, losses, augmentation, EMA, the training step, the loop, monitor, checkpoint;
                   picture_networks.py, parts of those that make a picture of a picture; enlarger.py, one of twice
                   the size, shrinking.py, what that learns from, enlarging_step.py, how; translation.py, an image to
                   one of another domain, translating.py, how that is learned; filling.py, one without holes,
                   hole_batches.py and filling_step.py, how
    tasks/         what is particular to a kind of label: how items are read, which networks, how samples are labelled;
                   exam.py, what a snapshot is scored on; pictures.py, what those share that make pictures of pictures
    latent.py      directions of a bank's codes (found in gan/steering.py), and samples moved along them
    bank.py        GeneratorBank: sample, save, load; bank_file.py, its file; manifest.py, what it says of itself;
                   bank_pictures.py, what it makes of pictures that it is given, bank_filling.py, of their holes,
                   bank_varying.py, of images of classes, bank_objects.py, of objects that were cut out, bank_maps.py,
                   of images with label maps; bank_moves.py, how those are moved
    classifier.py  the reference classifier: judge of samples, learner of comparisons; crossfit.py, judging honestly;
                   segmenter.py, the reference segmenter; showing.py, in which order both are shown images
    map_reader.py  who says whether a snapshot's images show their maps
    map_shares.py  how many pixels each class has in new label maps, beside real ones
    guesses.py     which class an unlabelled image is of; basing.py, fits that start from a bank
    fitting.py     dataset + recipe -> bank; planning.py, what is settled before; beside.py, what is learned from beside
                   the labelled images; run_folder.py, what tells how it went
    launching.py   how a fit comes to run as several processes, on one machine or many; starting.py, those started here
    filled.py      a transform that hides regions under what a bank fills them with
    pool.py        bank -> samples on disk, memory-mapped; pool_making.py, by several processes
    varied_pairs.py  variations of a dataset's own images with their maps, settled for the workers
    image_pool.py  a dataset's images made anew, on disk: translated.py, in another domain; grounds.py, without objects
    screening/     which samples are fit to train on: an out-of-fold judge, far ones, copies, redundant ones;
                   pairs.py and map_judge.py, which images show their maps
    dataset.py     GanAugmented; choosing.py, what ratio="auto" and screening mean; ratios.py, how many samples of
                   which class in which epoch; matching.py, whose classes are whose; batches.py, a fixed real share
    enlarging.py   a bank whose samples another bank enlarges
    adapters/      one file per library, imported only when used; ultralytics_comparison.py, that library as a learner
    evidence/      the paired comparison and its statistics, measures of samples, the report; exams/, what is particular
                   to a kind of label there: who learns, on what, and how that is scored
    exploring/     what a generator knows: directions, what each changes in words, ways between samples
    exporting.py   real and synthetic images on disk; mask_exporting.py, with masks; mask_coco.py, these as COCO;
                   boxes_exporting.py, with boxes; erasing.py, without their objects
    workflow.py    whole jobs: sample, preview, a whole recipe; held_out.py, what that trains on and is scored on;
                   mask_workflow.py, how it ends for images with masks; box_workflow.py, that of images with boxes,
                   and box_pictures.py, their preview
    demonstration.py  all of it on real digits
    commands/      a command parses, calls one function, prints; cli.py, how they are called and how they fail;
                   __main__.py, the same as `python -m ganaug`

Words: *real* and *synthetic* samples; a *condition* is what a generator is told (a class, a real image or a
label map); a *scene* is a real image with objects pasted in; a *bank* holds the fitted generators; a *pool* is raw
generator output on disk; *ratio* is synthetic samples per real sample; the *verdict* is the outcome of a comparison,
and "none" is an outcome.

`import ganaug` imports neither torch nor any extra: a public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganaug.bank import GeneratorBank, load
    from ganaug.batches import FixedShareBatchSampler
    from ganaug.data.copy_paste import CopyPaste
    from ganaug.dataset import AnnealedRatio, GanAugmented
    from ganaug.demonstration import demo
    from ganaug.errors import GanaugError
    from ganaug.evidence.comparison import compare
    from ganaug.evidence.report import report
    from ganaug.evidence.samples import measure
    from ganaug.exploring import Exploration, explore
    from ganaug.exporting import export
    from ganaug.fitting import fit
    from ganaug.pool import SamplePool
    from ganaug.recipe import Recipe, Scenes, Screening, load_recipe
    from ganaug.screening import screen
    from ganaug.workflow import run

__version__ = "0.1.0"

_HOMES = {
    "AnnealedRatio": "ganaug.dataset",
    "CopyPaste": "ganaug.data.copy_paste",
    "Exploration": "ganaug.exploring",
    "FixedShareBatchSampler": "ganaug.batches",
    "GanAugmented": "ganaug.dataset",
    "GanaugError": "ganaug.errors",
    "GeneratorBank": "ganaug.bank",
    "Recipe": "ganaug.recipe",
    "SamplePool": "ganaug.pool",
    "Scenes": "ganaug.recipe",
    "Screening": "ganaug.recipe",
    "compare": "ganaug.evidence.comparison",
    "demo": "ganaug.demonstration",
    "explore": "ganaug.exploring",
    "export": "ganaug.exporting",
    "fit": "ganaug.fitting",
    "load": "ganaug.bank",
    "load_recipe": "ganaug.recipe",
    "measure": "ganaug.evidence.samples",
    "report": "ganaug.evidence.report",
    "run": "ganaug.workflow",
    "screen": "ganaug.screening",
}

__all__ = [
    "AnnealedRatio",
    "CopyPaste",
    "Exploration",
    "FixedShareBatchSampler",
    "GanAugmented",
    "GanaugError",
    "GeneratorBank",
    "Recipe",
    "SamplePool",
    "Scenes",
    "Screening",
    "compare",
    "demo",
    "explore",
    "export",
    "fit",
    "load",
    "load_recipe",
    "measure",
    "report",
    "run",
    "screen",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganaug' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
