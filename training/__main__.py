"""`python -m training`: the same as `sortline-train`."""

from training.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
