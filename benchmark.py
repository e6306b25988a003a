"""The benchmark script: what this machine makes of the model, the line and /predict. The same as `sortline bench`."""

import sys

from edge.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
