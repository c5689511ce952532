"""What transforms of albumentations share that draw by the data of a call, in 2.0 and in albumentationsx alike."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from ganaug.errors import MissingExtraError

try:
    from albumentations.core.transforms_interface import BasicTransform
except ImportError as error:
    raise MissingExtraError("albumentations", "albumentations") from error

__all__ = ["DrawingTransform"]


class DrawingTransform(BasicTransform):  # type: ignore[misc]
    """A transform that is written down by the arguments that it was given, `_arguments`."""

    _arguments: dict[str, Any]

    @abstractmethod
    def _drawn(self, data: Mapping[str, Any], source: random.Random) -> dict[str, Any]:
        """What is drawn for a call, by the name that `apply` takes it by; `source` follows the seed of the Compose."""

    if hasattr(BasicTransform, "sample_parameters"):  # albumentationsx, which lets nobody define the other

        def sample_parameters(self, params: Any, data: Mapping[str, Any], targets: Any, sampling: Any) -> Any:
            """What is drawn for this call."""
            from albumentations.core.transform_params import SampledParams

            return SampledParams(params=self._drawn(data, sampling.py_random))

    else:

        def get_params_dependent_on_data(self, params: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
            """What is drawn for this call."""
            return self._drawn(data, self.py_random)

    def get_base_init_args(self) -> dict[str, Any]:
        """Nothing beside `get_transform_init_args`."""
        return {}

    def get_transform_init_args(self) -> dict[str, Any]:
        """The arguments as they were given."""
        return dict(self._arguments)
