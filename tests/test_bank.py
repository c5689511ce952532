import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from ganaug.bank import GeneratorBank, Verdict, load
from ganaug.errors import BankError, DeviceError, OutputError
from ganaug.gan.device import resolve_device

OLD_BANK = Path(__file__).parent / "assets" / "bank-format-1.ganaug"
OLD_PIXELS = [130, 124, 145]  # in the middle of its first samples
VERDICT = Verdict(
    ratio=0.5, gain=0.021, low=0.004, high=0.038, real_only=0.8, with_synthetic=0.821, subject="recipe",
    measured={"seeds": 3},
)  # fmt: skip


def rewritten(source: Path, goal: Path, *, drop: str = "", tensors: Any = None, manifest: Any = None) -> Path:
    """A copy of a bank that lies: without a tensor, with other tensors, or with other manifest values."""
    with safetensors.safe_open(source, framework="pt") as opened:
        values = json.loads(opened.metadata()["ganaug"])
    kept = {name: tensor for name, tensor in load_file(source).items() if not drop or drop not in name}
    text = manifest if isinstance(manifest, str) else json.dumps({**values, **(manifest or {})})
    save_file({**kept, **(tensors or {})}, goal, metadata={"ganaug": text})
    return goal


@pytest.mark.parametrize("per_class", [False, True])
def test_a_round_trip_keeps_every_byte_of_the_samples(make_bank: Any, tmp_path: Path, per_class: bool) -> None:
    bank = make_bank(per_class=per_class, held_back_fingerprints=("ab",)).with_verdict(VERDICT)
    path = bank.save(tmp_path / "new" / "pets.ganaug")
    again = load(path)
    for name in bank.class_names:
        assert torch.equal(again.sample(name, 70, seed=3), bank.sample(name, 70, seed=3))
    assert again.manifest == bank.manifest
    assert again.verdict == VERDICT
    assert again.fingerprint == bank.fingerprint
    assert again.recipe.resolution == 16
    assert [file.name for file in path.parent.iterdir()] == ["pets.ganaug"]


def test_weights_laid_out_otherwise_make_no_difference(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    generators = [g.to(memory_format=torch.channels_last) for g in load(tiny_bank.save(tmp_path / "a")).generators]
    bank = GeneratorBank(tiny_bank.manifest, generators)
    assert torch.equal(bank.sample("cat", 64), load(bank.save(tmp_path / "b")).sample("cat", 64))


def test_samples_are_uint8_images_that_differ_by_class_seed_and_index(tiny_bank: GeneratorBank) -> None:
    cats = tiny_bank.sample("cat", 5, seed=0)
    assert cats.shape == (5, 3, 16, 16)
    assert cats.dtype == torch.uint8
    assert cats.float().std() > 5
    assert len({cat.numpy().tobytes() for cat in cats}) == 5
    assert not torch.equal(cats, tiny_bank.sample("dog", 5, seed=0))
    assert not torch.equal(cats, tiny_bank.sample("cat", 5, seed=1))


def test_a_sample_does_not_depend_on_what_else_is_asked_for(tiny_bank: GeneratorBank) -> None:
    every = tiny_bank.sample("dog", 200, seed=7)
    assert torch.equal(tiny_bank.sample("dog", 3, seed=7, start=130), every[130:133])
    scattered = [199, 0, 64, 63, 0]
    assert torch.equal(tiny_bank.sample_at(1, scattered, seed=7), every[scattered])
    torch.manual_seed(99)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tiny_bank.sample("dog", 1, seed=7), every[:1])
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(tiny_bank.sample("dog", 1, seed=7), every[:1])
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_class_is_its_name_or_the_users_number(make_bank: Any) -> None:
    bank = make_bank(("cat", "dog"), numbers=(7, 3))
    assert torch.equal(bank.sample(3, 2), bank.sample("dog", 2))
    with pytest.raises(BankError, match="'catt'; did you mean 'cat'"):
        bank.sample("catt", 1)
    with pytest.raises(BankError, match="knows no class 1; choose from: 3, 7"):
        bank.sample(1, 1)


@pytest.mark.parametrize(
    ("n", "seed", "start"), [(0, 0, 0), (-1, 0, 0), (2_000_000, 0, 0), (1.5, 0, 0), (1, -1, 0), (1, 0, -1)]
)
def test_numbers_out_of_range_are_named(tiny_bank: GeneratorBank, n: Any, seed: int, start: int) -> None:
    with pytest.raises(BankError, match="give a whole number from"):
        tiny_bank.sample("cat", n, seed=seed, start=start)


def test_the_fingerprint_follows_weights_and_classes_only(make_bank: Any) -> None:
    bank, other = make_bank(), make_bank()
    assert bank.with_verdict(VERDICT).fingerprint == bank.fingerprint == other.fingerprint
    assert make_bank(("cat", "dog", "fox")).fingerprint != bank.fingerprint
    with torch.no_grad():
        next(other.generators.parameters())[0, 0] += 1e-3
    changed = GeneratorBank(other.manifest, list(other.generators))
    changed._fingerprint = None
    assert changed.fingerprint != bank.fingerprint


def test_a_verdict_says_what_was_found() -> None:
    assert VERDICT.sentence == (
        "0.5 synthetic images per real one: +2.1 points of accuracy (95 % interval +0.4 to +3.8; 80.0% to 82.1%), "
        "measured on refits of this recipe"
    )
    none = VERDICT.model_copy(update={"ratio": 0.0, "gain": -0.01, "low": -0.03, "high": 0.01, "subject": "bank"})
    assert none.sentence.startswith("no ratio tried was shown to help: -1.0 points")
    pasted = none.model_copy(update={"augment": "mosaic+copy-paste"})
    assert pasted.sentence == f"{none.sentence}, all images trained on with mosaic+copy-paste"
    assert VERDICT.model_copy(update={"ratio": {"cat": 1.0, "dog": 0.5}}).sentence.startswith("cat 1, dog 0.5 synth")
    treated = VERDICT.model_copy(update={"annealed": True, "soft": True})
    assert treated.sentence.startswith("0.5 synthetic images per real one, annealed, soft labels: +2.1 points")
    with pytest.raises(ValidationError):
        Verdict(**{**VERDICT.model_dump(), "gain": float("nan")})


def test_nothing_but_a_bank_is_overwritten(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    notes = tmp_path / "notes.ganaug"
    notes.write_text("mine")
    with pytest.raises(OutputError, match="is not a bank, so it is not overwritten"):
        tiny_bank.save(notes)
    assert notes.read_text() == "mine"
    with pytest.raises(OutputError, match="is a folder"):
        tiny_bank.save(tmp_path)
    bank = tiny_bank.save(tmp_path / "pets.ganaug")
    assert load(tiny_bank.with_verdict(VERDICT).save(bank)).verdict == VERDICT
    with pytest.raises(OutputError, match="exists"):
        tiny_bank.save(bank, exist_ok=False)
    with pytest.raises(OutputError, match="cannot be written"):
        tiny_bank.save(notes / "below-a-file.ganaug")


def test_a_file_cut_anywhere_is_one_clear_line(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    whole = tiny_bank.save(tmp_path / "pets.ganaug").read_bytes()
    cut = tmp_path / "cut.ganaug"
    for size in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(BankError, match=r"cut\.ganaug is not a bank") as caught:
            load(cut)
        assert "\n" not in str(caught.value)


def test_what_is_no_bank_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="does not exist"):
        load(tmp_path / "none.ganaug")
    with pytest.raises(BankError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    for name in ("picture", "other"):
        with pytest.raises(BankError, match=f"{name} is not a bank"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"drop": "seed.bias"}, "seed.bias is missing"),
        ({"tensors": {"generators.0.to_image.bias": torch.zeros(4)}}, r"to_image.bias has shape \(4,\), wanted \(3,\)"),
        ({"tensors": {"generators.0.to_image.bias": torch.tensor([0, float("nan"), 0])}}, "not finite"),
        ({"tensors": {"generators.0.to_image.bias": torch.tensor([0, float("inf"), 0])}}, "not finite"),
        ({"tensors": {"generators.0.to_image.bias": torch.zeros(3, dtype=torch.int32)}}, "is torch.int32"),
        ({"tensors": {"generators.1.to_image.bias": torch.zeros(3)}}, "belongs to no generator"),
        ({"manifest": "{"}, "manifest cannot be read"),
        ({"manifest": "[]"}, "manifest cannot be read"),
        ({"manifest": {"format": 7, "unheard": 1}}, "format 7, this ganaug reads up to 6; upgrade"),
        ({"manifest": {"unheard": 1}}, "unheard"),
        ({"manifest": {"class_names": ["cat", "dog"]}}, "2 class names and 3 label numbers"),
        ({"manifest": {"class_names": ["cat", "dog"], "label_numbers": [0, 1]}}, "shape is for 3 classes, where 2"),
        ({"manifest": {"class_names": ["cat", "cat", "dog"]}}, "named or numbered twice"),
        ({"manifest": {"per_class": True}}, "shape is for 3 classes, where 1"),
        ({"manifest": {"task": "sing"}}, "no task 'sing'"),
        ({"manifest": {"kimg": "much"}}, "kimg"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_caught(tiny_bank: GeneratorBank, tmp_path: Path, lie: Any, said: str) -> None:
    path = rewritten(tiny_bank.save(tmp_path / "pets.ganaug"), tmp_path / "lying.ganaug", **lie)
    with pytest.raises(BankError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 17},
        {"resolution": 2**200},
        {"latent_dim": 10**12},
        {"latent_dim": -1},
        {"class_dim": "x"},
        {"more": 1},
    ],
)
def test_a_shape_that_lies_is_caught_without_taking_its_memory(
    tiny_bank: GeneratorBank, tmp_path: Path, change: dict[str, Any]
) -> None:
    manifest = {"shape": {**tiny_bank.manifest.shape, **change}}
    path = rewritten(tiny_bank.save(tmp_path / "pets.ganaug"), tmp_path / "lying.ganaug", manifest=manifest)
    with pytest.raises(BankError, match="is damaged"):
        load(path)


def test_a_header_that_promises_too_much_is_caught(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    data = tiny_bank.save(tmp_path / "pets.ganaug").read_bytes()
    (tmp_path / "lying.ganaug").write_bytes(struct.pack("<Q", 2**62) + data[8:])
    with pytest.raises(BankError, match="is not a bank"):
        load(tmp_path / "lying.ganaug")


def test_a_bank_of_the_first_format_stays_loadable() -> None:
    bank = load(OLD_BANK)
    assert bank.class_names == ("left", "right")
    assert bank.label_numbers == (4, 9)
    assert bank.recipe.resolution == 16
    assert bank.verdict is not None
    assert bank.verdict.ratio == 0.5
    assert not any((bank.verdict.annealed, bank.verdict.screened, bank.verdict.soft))
    assert (bank.manifest.format, bank.with_verdict(VERDICT).manifest.format) == (1, 6)
    middle = bank.sample("right", 3, seed=5)[:, 0, 8, 8].to(torch.int64)
    assert (middle - torch.tensor(OLD_PIXELS)).abs().max() <= 2  # other processors round otherwise


def test_devices_are_checked() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in {"cpu", "cuda"}
    for name in ("cuda:77", "mps" if not torch.backends.mps.is_available() else "cuda:99", "xpu", "meta"):
        with pytest.raises(DeviceError, match="choose from: auto, cpu"):
            resolve_device(name)
    with pytest.raises(DeviceError, match=r"no device 'cpuu'; did you mean 'cpu'"):
        resolve_device("cpuu")
    with pytest.raises(DeviceError):
        load(OLD_BANK, device="cuda:77")
