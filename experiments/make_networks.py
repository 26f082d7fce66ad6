"""Make the weight-free ONNX files in `dse/networks/` from their public definitions.

    python -m pip install torch torchvision onnx
    python experiments/make_networks.py [DIRECTORY]

torch and torchvision are needed for this script only, never by the library.  The graph is the one that
torch's exporter writes, batch normalisation kept apart; of every weight only type and dimensions stay: the
bytes are declared to lie in an external file that does not exist.  Running it again gives the same bytes.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

try:
    import onnx
    import torch
except ImportError as error:
    sys.exit(f"{error}. This script needs more than the library does: pip install torch torchvision onnx")

OPSET = 17
DESTINATION = Path(__file__).parents[1] / "dse" / "networks"


def resnet50() -> torch.nn.Module:
    """ResNet-50 v1.5 (stride in the 3x3 convolution) as torchvision defines it."""
    try:
        import torchvision
    except ImportError as error:
        sys.exit(f"{error}. pip install torchvision")
    except RuntimeError:  # compiled operators missing (CPU torch, CUDA torchvision): declare those it asks for
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        import torchvision
    return torchvision.models.resnet50(weights=None)


def export(model: torch.nn.Module, path: Path, input_shape: tuple[int, ...]) -> None:
    """Export `model` for inference with a symbolic batch and write the graph without weights to `path`."""
    model.eval()
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():  # the exporter merges equal tensors: make all different
            torch.nn.init.uniform_(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(input_shape),), str(path), dynamo=False, opset_version=OPSET, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
    onnx.save(without_weights(onnx.load(path), path.stem), path)


def without_weights(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Replace the bytes of every initialiser by a reference to an absent file; drop version-dependent text."""
    for tensor in model.graph.initializer:
        empty = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        empty.data_location = onnx.TensorProto.EXTERNAL
        empty.external_data.add(key="location", value=f"{name}.weights")
        tensor.CopyFrom(empty)
    model.graph.name = name
    model.producer_name, model.producer_version = "experiments/make_networks.py", ""
    model.doc_string = f"torchvision.models.{name} (BSD-3-Clause), graph only: the weights are absent on purpose."
    return model


def main() -> None:
    """Write every file into the directory given on the command line, by default the package's own."""
    destination = Path(sys.argv[1]) if len(sys.argv) > 1 else DESTINATION
    for name, definition, input_shape in [("resnet50", resnet50, (1, 3, 224, 224))]:
        path = destination / f"{name}.onnx"
        export(definition(), path, input_shape)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
