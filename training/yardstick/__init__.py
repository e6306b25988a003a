"""What the web side is measured against: one well-known network as a file, and behind other people's servers.

    python -m training.yardstick.network lite0.onnx            EfficientNet-Lite0 at 224 as one file
    python -m training.yardstick.tutorial 8090                 the same network in torch behind Flask's own server
    python -m training.yardstick.litserver lite0.onnx 8090 2   a file behind LitServe with two workers

`sortline bench --scenario servers` runs them where torch and litserve are installed.
"""
