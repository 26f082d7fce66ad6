"""`dse.retrain`: a graph as a torch module computes what the ONNX reference does, and learns."""

import importlib.util
import sys

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from test_tune import Edit, apply_edits, residual, stripped, with_random_weights

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed (pip install '.[retrain]')")


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_without_torch_one_line_says_what_to_install():
    sys.modules.pop("dse.retrain", None)
    with pytest.raises(ValueError, match=r"torch is not installed; pip install 'accelerator-dse\[retrain\]'"):
        importlib.import_module("dse.retrain")


@needs_torch
@pytest.mark.parametrize("edits", [[], [Edit("stem", "stem"), Edit("fuse_depthwise", "depthwise")]])
def test_a_graph_as_a_module_computes_the_same(edits):
    import torch

    from dse.retrain import GraphModule

    model = with_random_weights(apply_edits(residual(), edits))
    module = GraphModule(stripped(model)).eval()
    with torch.no_grad():
        for tensor in model.graph.initializer:
            if tensor.name in module.names:
                module.value(tensor.name).copy_(torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        x = np.random.default_rng(1).standard_normal((2, 3, 16, 16)).astype(np.float32)
        mine = module(torch.from_numpy(x)).numpy()
    assert np.allclose(mine, ReferenceEvaluator(model).run(None, {"x": x})[0], atol=1e-4)


@needs_torch
def test_training_learns_and_repeats_to_the_bit():
    from dse.retrain import GraphModule, ImageTraining

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1536)
    images = rng.normal(0, 0.3, (1536, 3, 16, 16)).astype(np.float32)
    images[np.arange(1536), labels % 3] += (labels // 3)[:, None, None] - 1.5
    data = {"train": (images[:1280], labels[:1280]), "test": (images[1280:], labels[1280:])}
    training = ImageTraining(data, epochs=4, batch=32, peak_rate=0.05)
    first = training(GraphModule(residual()), 3)
    assert first > 0.5 and len(training.history) == 4
    assert training(GraphModule(residual()), 3) == first


@needs_torch
def test_a_module_becomes_a_graph_and_back():
    import torch
    from torch import nn

    from dse.retrain import GraphModule, graph_of

    body = [nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    module = nn.Sequential(*body, nn.Flatten(), nn.Linear(4, 10))
    again = GraphModule(graph_of(module, (1, 1, 28, 28)))
    assert again(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    trainable = sum(p.numel() for p in module.parameters())
    assert sum(p.numel() for p in again.weights.values()) == trainable
