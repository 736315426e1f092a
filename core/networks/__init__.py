"""Networks from elsewhere, checked and brought to the lab's form: ONNX files, weights of torchvision's architectures, and
checkpoints of the lab as zip archives."""
