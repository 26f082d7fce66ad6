"""What each ONNX operator is in loop bounds or vector operations: one table of meanings."""
