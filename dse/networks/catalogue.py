"""The networks that ship with the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dse.networks.errors import NetworkError

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """A network that ships, with the figures published for it.

    Parameters
    ----------
    description : the variant, in a line.
    input : name and shape of the inputs at batch 1 [elements].
    published_macs : multiply-accumulate operations, as published or by the closed form that `source` names [MACs].
    published_parameters : trainable parameters, as published or by the closed form [elements].
    source : where definition and figures come from.
    dims : sizes of the dynamic dimensions where the user gives none.
    beyond_macs, beyond_parameters : what the published figure counts beyond the file (negative: what the file counts
        beyond it), for the reason in `why`; file + beyond = published.
    """

    description: str
    input: Mapping[str, tuple[int, ...]]
    published_macs: int
    published_parameters: int
    source: str
    dims: Mapping[str, int] = field(default_factory=dict)
    beyond_macs: int = 0
    beyond_parameters: int = 0
    why: str = ""
    file: str = ""

    @property
    def path(self) -> Path:
        """Where the file is."""
        return DIRECTORY / self.file


def _torchvision(name: str, gmacs: str, parameters: str) -> str:
    return f"torchvision.models.{name}; its weights list {gmacs} GMACs (there called GFLOPS), {parameters} parameters"


def _lstm(hidden: int) -> tuple[int, int]:
    """MACs of 35 steps and parameters of two LSTM layers with two biases a gate, an embedding and 10,000 scores."""
    cells, words = 2 * 4 * hidden * 2 * hidden, 10_000
    return 35 * (cells + hidden * words), cells + 2 * 2 * 4 * hidden + 2 * hidden * words + words


def _transformer(tokens: int, seen: int, width: int = 768, blocks: int = 12) -> int:
    """MACs of the blocks of a transformer for `tokens` that look at `seen`: 12 width^2 a token, and two products."""
    return blocks * (12 * width * width * tokens + 2 * width * tokens * seen)


_AUXILIARY = 1024 * 256 * 9 + 256 * 21  # MACs a pixel of DeepLabv3's auxiliary head
_IMAGE = {"input": (1, 3, 224, 224)}
_LSTM_SOURCE = "tensorflow/models ptb_word_lm.py; figures by closed form, two bias vectors as in PyTorch"
_GPT2_SOURCE = "openai/gpt-2 model.py, 124M parameters; 12 width^2 MACs a token and block, attention, scores"

_ENTRIES: dict[str, Entry] = {
    "resnet50": Entry(
        "ResNet-50 v1.5 (stride in the 3x3 convolution), ImageNet classification",
        _IMAGE,
        4_089_000_000,
        25_557_032,
        _torchvision("resnet50", "4.089", "25,557,032"),
    ),
    "resnet50_v1": Entry(
        "ResNet-50 v1 (stride in the first 1x1 convolution, as Keras), ImageNet classification",
        _IMAGE,
        4_089_000_000,
        25_557_032,
        "He et al., CVPR 2016 (there 3.8 GFLOPs); torchvision's resnet50 with these strides",
        beyond_macs=3 * (256 * 128 * (56 * 56 - 28 * 28)),
        why="published for v1.5, whose first 1x1 convolution of three stages has four times the pixels",
    ),
    "inception_v3": Entry(
        "Inception-v3 without its auxiliary head, ImageNet classification at 299",
        {"input": (1, 3, 299, 299)},
        5_713_000_000,
        27_161_264,
        _torchvision("inception_v3", "5.713", "27,161,264"),
        beyond_parameters=3_326_696,
        why="the published parameters count the auxiliary head, which only training needs",
    ),
    "deeplabv3_resnet50": Entry(
        "DeepLabv3 with ResNet-50 at output stride 8, segmentation of 21 classes at 513",
        {"input": (1, 3, 513, 513)},
        178_722_000_000,
        42_004_074,
        _torchvision("segmentation.deeplabv3_resnet50", "178.722", "42,004,074"),
        beyond_macs=_AUXILIARY * 65 * 65 + 9_408 * (260**2 - 257**2) + (212_992 + 32_768) * (130**2 - 129**2),
        beyond_parameters=2_365_205,
        why="published at 520 pixels, where the stem and the layers before the second stride have more pixels, and "
        "with the auxiliary head (9.99 GMACs), which only training needs",
    ),
    "faster_rcnn_resnet50": Entry(
        "Faster R-CNN, ResNet-50 FPN, RPN head, box head on 1,000 regions; anchors, NMS and pooling left out; "
        "dimensions height and width, 800 unless given (177.6 GMACs at 800x1088)",
        {"input": (1, 3, 800, 800), "regions": (1, 1000, 256, 7, 7)},
        134_380_000_000,
        41_755_286,
        _torchvision("detection.fasterrcnn_resnet50_fpn", "134.38", "41,755,286"),
        dims={"height": 800, "width": 800},
        beyond_parameters=-53_120,
        why="the frozen batch normalisation of the backbone is no parameter to torchvision",
    ),
    "ptb_lstm_medium": Entry(
        "word LSTM 2x650 over 10,000 words, 35 steps", {"ids": (1, 35)}, *_lstm(650), f"{_LSTM_SOURCE}"
    ),
    "ptb_lstm_large": Entry(
        "word LSTM 2x1500 over 10,000 words, 35 steps", {"ids": (1, 35)}, *_lstm(1500), f"{_LSTM_SOURCE}"
    ),
    "wide_deep": Entry(
        "Wide & Deep, its deep part 1200-1024-512-256-1; embeddings are inputs, the wide part has no MACs",
        {"input": (1, 1200)},
        1200 * 1024 + 1024 * 512 + 512 * 256 + 256,
        1200 * 1024 + 1024 * 512 + 512 * 256 + 256 + 1024 + 512 + 256 + 1,
        "Cheng et al., DLRS 2016, fig. 4; figures by closed form",
    ),
    "nasnet_a_large": Entry(
        "NASNet-A (6 @ 4032), ImageNet classification at 331",
        {"input": (1, 3, 331, 331)},
        23_800_000_000,
        88_900_000,
        "timm nasnetalarge; Zoph et al., CVPR 2018: 23.8 G multiply-adds, 88.9 M parameters",
    ),
    "vgg16": Entry(
        "VGG-16, ImageNet classification", _IMAGE, 15_470_000_000, 138_357_544,
        _torchvision("vgg16", "15.47", "138,357,544"),
    ),
    "mobilenet_v2": Entry(
        "MobileNetV2, width 1, ImageNet classification", _IMAGE, 301_000_000, 3_504_872,
        _torchvision("mobilenet_v2", "0.301", "3,504,872"),
    ),
    "efficientnet_b0": Entry(
        "EfficientNet-B0, ImageNet classification", _IMAGE, 386_000_000, 5_288_548,
        _torchvision("efficientnet_b0", "0.386", "5,288,548"),
    ),
    "vit_b_16": Entry(
        "ViT-B/16, ImageNet classification", _IMAGE, 17_564_000_000, 86_567_656,
        _torchvision("vit_b_16", "17.564", "86,567,656"),
    ),
    "bert_base": Entry(
        "BERT-base encoder with pooler; dimension seq, 128 unless given",
        {"ids": (1, 128)},
        _transformer(128, 128) + 768 * 768,
        109_482_240,
        "transformers BertModel(BertConfig()); MACs by closed form: 12 width^2 a token and block, attention, pooler",
        dims={"seq": 128},
    ),
    "gpt2_prefill": Entry(
        "GPT-2 small reads a prompt, scores the next word; dimension seq, 128 unless given; square attention",
        {"ids": (1, 128)},
        _transformer(128, 128) + 50257 * 768,
        124_439_808,
        _GPT2_SOURCE,
        dims={"seq": 128},
    ),
    "gpt2_decode": Entry(
        "GPT-2 small makes one word after others; dimension past, 1,023 unless given",
        {"ids": (1, 1), "past_0 .. past_11": (1, 2, 12, 1023, 64)},
        _transformer(1, 1024) + 50257 * 768,
        124_439_808,
        _GPT2_SOURCE,
        dims={"past": 1023},
    ),
}  # fmt: skip

NETWORKS: dict[str, Entry] = {name: replace(entry, file=f"{name}.onnx") for name, entry in _ENTRIES.items()}
"""Name -> entry; `dse.networks.load_network` takes these names."""

EIGHT = (
    "inception_v3",
    "deeplabv3_resnet50",
    "resnet50",
    "faster_rcnn_resnet50",
    "ptb_lstm_medium",
    "wide_deep",
    "nasnet_a_large",
    "vgg16",
)
"""The eight representative networks of Yu et al., IEEE TC 2021, in the variants that ship."""


def network_dims(network: str, dims: Mapping[str, int] | None = None) -> dict[str, int]:
    """Sizes of dynamic dimensions: those given, and those of the network of that name where none are given."""
    if dims is not None and not isinstance(dims, Mapping):
        raise NetworkError(f"dims must be sizes by name, such as {{'seq': 128}}, got {dims!r}")
    return {**(NETWORKS[network].dims if network in NETWORKS else {}), **(dims or {})}
