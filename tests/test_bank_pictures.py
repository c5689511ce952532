import pytest
import torch

from ganaug.bank_pictures import check_pictures
from ganaug.errors import BankError


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(2, 3, 20, 20), "float32"),
        (torch.zeros(3, 20, 20, dtype=torch.uint8), r"\(3, 20, 20\)"),
        (torch.zeros(2, 1, 20, 20, dtype=torch.uint8), r"wanted torch.uint8 \(N, 3, H, W\)"),
        (torch.zeros(2, 3, 20, 15, dtype=torch.uint8), "16 pixels or more"),
    ],
)
def test_pictures_of_another_form_are_refused(images, said):
    with pytest.raises(BankError, match=said):
        check_pictures(images, 3, least=16)


def test_pictures_of_the_form_are_taken():
    check_pictures(torch.zeros(0, 3, 16, 90, dtype=torch.uint8), 3, least=16)
