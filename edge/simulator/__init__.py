"""A belt with known truth: it draws what a camera would see and knows what really happened.

`World` is the truth without pixels, `Scene` draws it, `dataset.draw` cuts training pictures from it,
and `edge.camera.simulated` is the camera source `sim:`.
"""
