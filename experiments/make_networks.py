"""Make the weight-free ONNX files in `dse/networks/` from their public definitions.

    python -m pip install torch torchvision timm transformers onnx
    python -m experiments make_networks [DIRECTORY [NAME ...]]

These packages are needed for this script only, never by the library.  Each graph is the one that torch's exporter
writes, batch normalisation kept apart; of every weight only type and dimensions stay: the bytes are declared to lie in
an external file that does not exist.  Running it again with the same versions gives the same bytes.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import onnx
import torch
import typer

from experiments.study import Fault, Quick

OPSET = 17
DESTINATION = Path(__file__).parents[1] / "dse" / "networks"


@dataclass(frozen=True)
class Definition:
    """A public definition and the inputs it is exported with.

    Parameters
    ----------
    build : gives the module.
    shapes : shape of each input; the first dimension is the batch.  Inputs named ``*ids`` are integers.
    source : package, function and licence.
    dynamic : symbols of other dimensions, by input and axis.
    """

    build: Callable[[], torch.nn.Module]
    shapes: dict[str, tuple[int, ...]]
    source: str
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)


def torchvision_models() -> object:
    """`torchvision.models`, also where its compiled operators do not fit torch (CPU torch, CUDA torchvision)."""
    try:
        import torchvision
    except RuntimeError:  # compiled operators missing: declare those it asks for
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        import torchvision
    return torchvision.models


def torchvision_model(name: str, **options: object) -> Callable[[], torch.nn.Module]:
    """A classifier of `torchvision.models`."""
    return lambda: getattr(torchvision_models(), name)(weights=None, **options)


def resnet50_v1() -> torch.nn.Module:
    """ResNet-50 with the strides of He et al. 2016: in the first 1x1 convolution of a stage, as Keras has it."""
    net = torchvision_models().resnet50(weights=None)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net


class Segmentation(torch.nn.Module):
    """DeepLabv3 of torchvision without its auxiliary head, which only training needs."""

    def __init__(self) -> None:
        super().__init__()
        models = torchvision_models().segmentation
        self.net = models.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of 21 classes for each pixel."""
        return self.net(x)["out"]


class Detection(torch.nn.Module):
    """Faster R-CNN of torchvision: all that multiplies, on an image and on the pooled features of the proposals.

    Between the two lie anchors, non-maximum suppression and pooling of regions: no MACs, and sizes that depend on
    the data.  The pooled features are a second input.
    """

    def __init__(self) -> None:
        super().__init__()
        net = torchvision_models().detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        self.backbone, self.rpn_head = net.backbone, net.rpn.head
        self.box_head, self.box_predictor = net.roi_heads.box_head, net.roi_heads.box_predictor

    def forward(self, x: torch.Tensor, regions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Objectness and offsets of the anchors on five levels; class scores and offsets of the proposals."""
        objectness, offsets = self.rpn_head(list(self.backbone(x).values()))
        return (*objectness, *offsets, *self.box_predictor(self.box_head(regions.flatten(0, 1))))


class WordLSTM(torch.nn.Module):
    """Two LSTM layers over words, after tensorflow/models `ptb_word_lm.py`: embedding, cells, scores of the words."""

    def __init__(self, hidden: int, words: int = 10_000) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, hidden)
        self.cells = torch.nn.LSTM(hidden, hidden, num_layers=2, batch_first=False)
        self.scores = torch.nn.Linear(hidden, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Scores of the next word at every step; ids (batch, steps)."""
        return self.scores(self.cells(self.embedding(ids).transpose(0, 1))[0])


def wide_and_deep() -> torch.nn.Module:
    """The deep part of Cheng et al., DLRS 2016, fig. 4: 1,200 concatenated features, 1024-512-256 and the logit."""
    sizes = (1200, 1024, 512, 256, 1)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def nasnet() -> torch.nn.Module:
    """NASNet-A large (6 @ 4032)."""
    torchvision_models()  # timm imports torchvision
    import timm

    return timm.create_model("nasnetalarge", pretrained=False)


class Bert(torch.nn.Module):
    """BERT-base encoder of transformers, with its pooler."""

    def __init__(self) -> None:
        super().__init__()
        torchvision_models()  # transformers import torchvision
        from transformers import BertConfig, BertModel

        self.net = BertModel(BertConfig(attn_implementation="eager"))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """States of all tokens and the pooled one."""
        done = self.net(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True)
        return done.last_hidden_state, done.pooler_output


class Gpt2(torch.nn.Module):
    """GPT-2 small after Radford et al. 2019 (openai/gpt-2 `model.py`): 12 blocks of 768, 12 heads, tied vocabulary."""

    def __init__(
        self, width: int = 768, heads: int = 12, blocks: int = 12, words: int = 50257, steps: int = 1024
    ) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.steps = torch.nn.Embedding(words, width), torch.nn.Embedding(steps, width)
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleDict(
                {
                    "norm_1": torch.nn.LayerNorm(width),
                    "qkv": torch.nn.Linear(width, 3 * width),
                    "projection": torch.nn.Linear(width, width),
                    "norm_2": torch.nn.LayerNorm(width),
                    "up": torch.nn.Linear(width, 4 * width),
                    "down": torch.nn.Linear(4 * width, width),
                }
            )
            for _ in range(blocks)
        )
        self.norm = torch.nn.LayerNorm(width)

    def attention(self, block: torch.nn.ModuleDict, x: torch.Tensor, past: torch.Tensor | None) -> torch.Tensor:
        """Masked attention; `past` (batch, 2, heads, tokens, width of a head): keys and values seen before."""
        parts = block["qkv"](x).chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        if past is not None:
            k, v = torch.cat([past[:, 0], k], dim=2), torch.cat([past[:, 1], v], dim=2)
        scores = q @ k.transpose(2, 3) / 8.0
        if past is None:  # a single new token sees everything
            token = torch.arange(x.shape[1])
            scores = scores.masked_fill(token[None, :] > token[:, None], -1e9)
        return block["projection"]((scores.softmax(3) @ v).transpose(1, 2).flatten(2))

    def forward(self, ids: torch.Tensor, *pasts: torch.Tensor) -> torch.Tensor:
        """Scores of the next word after the last token; ids (batch, tokens), after `pasts` of every block."""
        first = pasts[0].shape[3] if pasts else 0
        x = self.words(ids) + self.steps(torch.arange(first, first + ids.shape[1]))
        for block, past in zip(self.blocks, pasts or [None] * len(self.blocks), strict=True):
            x = x + self.attention(block, block["norm_1"](x), past)
            x = x + block["down"](torch.nn.functional.gelu(block["up"](block["norm_2"](x)), approximate="tanh"))
        return self.norm(x)[:, -1] @ self.words.weight.T


TORCHVISION = "torchvision.models.{} (BSD-3-Clause)"
IMAGE_224 = {"input": (1, 3, 224, 224)}
DEFINITIONS: dict[str, Definition] = {
    "resnet50": Definition(torchvision_model("resnet50"), IMAGE_224, TORCHVISION.format("resnet50")),
    "resnet50_v1": Definition(resnet50_v1, IMAGE_224, TORCHVISION.format("resnet50") + " with strides of version 1"),
    "inception_v3": Definition(
        torchvision_model("inception_v3", aux_logits=False, init_weights=False),
        {"input": (1, 3, 299, 299)},
        TORCHVISION.format("inception_v3"),
    ),
    "deeplabv3_resnet50": Definition(
        Segmentation, {"input": (1, 3, 513, 513)}, TORCHVISION.format("segmentation.deeplabv3_resnet50")
    ),
    "faster_rcnn_resnet50": Definition(
        Detection,
        {"input": (1, 3, 800, 800), "regions": (1, 1000, 256, 7, 7)},
        TORCHVISION.format("detection.fasterrcnn_resnet50_fpn"),
        {"input": {2: "height", 3: "width"}},
    ),
    "ptb_lstm_medium": Definition(
        lambda: WordLSTM(650), {"ids": (1, 35)}, "written after ptb_word_lm.py of tensorflow/models (Apache-2.0)"
    ),
    "ptb_lstm_large": Definition(
        lambda: WordLSTM(1500), {"ids": (1, 35)}, "written after ptb_word_lm.py of tensorflow/models (Apache-2.0)"
    ),
    "wide_deep": Definition(wide_and_deep, {"input": (1, 1200)}, "written after Cheng et al., DLRS 2016, fig. 4"),
    "nasnet_a_large": Definition(nasnet, {"input": (1, 3, 331, 331)}, "timm nasnetalarge (Apache-2.0)"),
    "vgg16": Definition(torchvision_model("vgg16"), IMAGE_224, TORCHVISION.format("vgg16")),
    "mobilenet_v2": Definition(torchvision_model("mobilenet_v2"), IMAGE_224, TORCHVISION.format("mobilenet_v2")),
    "efficientnet_b0": Definition(
        torchvision_model("efficientnet_b0"), IMAGE_224, TORCHVISION.format("efficientnet_b0")
    ),
    "vit_b_16": Definition(torchvision_model("vit_b_16"), IMAGE_224, TORCHVISION.format("vit_b_16")),
    "bert_base": Definition(
        Bert, {"ids": (1, 128)}, "transformers BertModel(BertConfig()) (Apache-2.0)", {"ids": {1: "seq"}}
    ),
    "gpt2_prefill": Definition(
        Gpt2, {"ids": (1, 128)}, "written after model.py of openai/gpt-2 (MIT)", {"ids": {1: "seq"}}
    ),
    "gpt2_decode": Definition(
        Gpt2,
        {"ids": (1, 1)} | {f"past_{i}": (1, 2, 12, 128, 64) for i in range(12)},
        "written after model.py of openai/gpt-2 (MIT)",
        {f"past_{i}": {3: "past"} for i in range(12)},
    ),
}


def export(definition: Definition, path: Path) -> None:
    """Export for inference with a symbolic batch and write the graph without weights to `path`."""
    torch.manual_seed(0)
    model = definition.build().eval()
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():  # the exporter merges equal tensors: make all different
            torch.nn.init.uniform_(tensor)
    example = tuple(
        torch.zeros(shape, dtype=torch.int64 if name.endswith("ids") else torch.float32)
        for name, shape in definition.shapes.items()
    )
    dynamic = {name: {0: "batch"} | definition.dynamic.get(name, {}) for name in definition.shapes}
    torch.backends.mha.set_fastpath_enabled(False)  # attention as the operators it is made of
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, example, str(path), dynamo=False, opset_version=OPSET, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=list(definition.shapes), output_names=["output"],
            dynamic_axes=dynamic | {"output": {0: "batch"}},
        )  # fmt: skip
    onnx.save(without_weights(onnx.load(path), path.stem, definition.source), path)


def without_weights(model: onnx.ModelProto, name: str, source: str) -> onnx.ModelProto:
    """Replace the bytes of every initialiser by a reference to an absent file; drop version-dependent text."""
    for tensor in model.graph.initializer:
        empty = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        empty.data_location = onnx.TensorProto.EXTERNAL
        empty.external_data.add(key="location", value=f"{name}.weights")
        tensor.CopyFrom(empty)
    model.graph.name = name
    model.producer_name, model.producer_version = "experiments/make_networks.py", ""
    model.doc_string = f"{source}, graph only: the weights are absent on purpose."
    return model


def main(
    directory: Annotated[Path | None, typer.Argument(help="Default the package's own.")] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default all.")] = None,
    quick: Quick = False,
) -> None:
    """Write every file, or those named."""
    destination = directory or (Path("quick") / "make_networks" if quick else DESTINATION)
    destination.mkdir(parents=True, exist_ok=True)
    for name in names or (["wide_deep"] if quick else DEFINITIONS):
        if name not in DEFINITIONS:
            raise Fault(f"unknown network {name!r}; the known ones are {', '.join(DEFINITIONS)}")
        path = destination / f"{name}.onnx"
        export(DEFINITIONS[name], path)
        print(f"{path}: {path.stat().st_size} bytes")
