import torch

from ganaug.gan.seeding import seeded


def test_the_same_draws_inside_and_the_callers_state_outside():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with seeded(seed, torch.device("cpu")):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_state_is_put_back_after_an_error():
    before = torch.get_rng_state()
    try:
        with seeded(1, torch.device("cpu")):
            torch.rand(4)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
