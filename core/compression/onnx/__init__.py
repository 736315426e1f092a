"""Export to ONNX and run in ONNX Runtime."""
