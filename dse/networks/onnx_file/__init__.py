"""Reading an ONNX file before any operator: graph, shapes, sizes of inputs, loops, vendor operators, batch."""
