"""What every extractor shares whose network comes from files of the weights table."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from vidbench import weights
from vidbench.extractor import Extractor, Requires

P = TypeVar("P")
N = TypeVar("N")

Read = tuple[bytes, weights.Status]
"""The content of a weight file, and what is known of that file."""


class NetworkExtractor(Extractor[P], Generic[P, N]):
    """Looks at clips with a network that is loaded once, from bytes whose checksum was compared."""

    def __init__(self, parameters: P | None = None) -> None:
        super().__init__(parameters)
        self._network: N | None = None
        self._unpublished = ""

    @property
    def weights_names(self) -> tuple[str, ...]:
        """The rows of the weights table that these parameters use."""
        return self.requires.weights

    def requirements(self) -> Requires:
        """What must be present for these parameters."""
        return Requires(self.requires.extra, self.requires.modules, self.weights_names)

    @abstractmethod
    def build(self, files: list[Read]) -> N:
        """The network, from the files of `weights_names` in that order.

        Raises:
            PluginError: they are not the network's.
        """

    def load(self) -> None:
        """Load the network.

        Raises:
            WeightsError: weights are missing or have the wrong checksum.
            PluginError: they are not the network's.
        """
        files = [weights.read(name) for name in self.weights_names]
        self._network = self.build(files)
        others = [f"sha256:{found.sha256}" for _, found in files if found.origin == "unpublished"]
        self._unpublished = " and ".join(others)

    def weights_checksum(self) -> str:
        """`sha256:…` of the weight files, with a remark where they are not the published ones."""
        return " and ".join(weights.require(name).checksum() for name in self.weights_names)

    @property
    def network(self) -> N:
        """The network; loaded where that was not done before."""
        if self._network is None:
            self.load()
        if self._network is None:
            raise RuntimeError("the network was not loaded")
        return self._network

    @property
    def unpublished(self) -> str:
        """Checksums of the loaded weights that are not the published ones, else empty."""
        return self._unpublished
