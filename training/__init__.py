"""The training side: pictures in, one self-describing ONNX file out."""
