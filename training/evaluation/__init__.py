"""What a model file is worth: its answers to unseen pictures, figures, how far the camera may drift, the report.

`examine` runs the file, `evaluate` sums up, `report` writes the page; the others measure and draw for them.
"""
