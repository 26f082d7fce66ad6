"""The networks that ship with the library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """A network that ships, with the figures published for it.

    Parameters
    ----------
    file : ONNX file in the package.
    input : name and shape of the input at batch 1 [elements].
    published_macs : multiply-accumulate operations at that input, as published [MACs].
    published_parameters : trainable parameters, as published [elements].
    source : where definition and figures come from.
    """

    file: str
    description: str
    input: dict[str, tuple[int, ...]]
    published_macs: int
    published_parameters: int
    source: str

    @property
    def path(self) -> Path:
        """Where the file is."""
        return DIRECTORY / self.file


NETWORKS: dict[str, Entry] = {
    "resnet50": Entry(
        file="resnet50.onnx",
        description="ResNet-50 v1.5 (stride in the 3x3 convolution), ImageNet classification",
        input={"input": (1, 3, 224, 224)},
        published_macs=4_089_000_000,
        published_parameters=25_557_032,
        source="torchvision.models.resnet50; its weights list 4.089 GMACs (there called GFLOPS), 25,557,032 parameters",
    ),
}
"""Name -> entry; `dse.networks.load_network` takes these names."""
