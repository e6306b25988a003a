"""Whether a folder of pictures is sound enough to train and to measure on."""
