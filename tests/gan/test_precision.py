import pytest
import torch

from ganaug.gan.precision import fastest_precision


@pytest.mark.parametrize(
    ("brain", "capability", "wanted"),
    [(True, (8, 0), "bfloat16"), (False, (7, 5), "float16"), (False, (7, 0), "float16"), (False, (6, 1), "float32")],
)
def test_a_card_computes_in_the_fastest_precision_that_it_has(monkeypatch, brain, capability, wanted):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: brain)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest_precision(torch.device("cuda", 0)) == wanted


@pytest.mark.parametrize(("brain", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_never_computes_in_float16(monkeypatch, brain, wanted):
    for question in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, question, lambda: brain)
    assert fastest_precision(torch.device("cpu")) == wanted
    assert fastest_precision(torch.device("meta")) == "float32"
