"""The commands of `sortline-train`, one file a family; each adds its words to the parser with `add`."""
