"""Class folders, with train, val and test above them or without; Roboflow's folder export and ImageNet are such."""

from training.importing.found import Findings, Labelled, Source, part_of
from training.layout import PART_FOLDERS


def read_folders(source: Source) -> Findings:
    """The folder that a picture lies in is its class; folders inside a class folder belong to it."""
    findings = Findings()
    tops = {path.relative_to(source.root).parts[0].casefold() for path in source.pictures if path.parent != source.root}
    parted = any(PART_FOLDERS.get(top) == "train" for top in tops)
    for path in source.pictures:
        name = source.name(path)
        steps = path.relative_to(source.root).parts[:-1]
        part = part_of(steps[0]) if parted and steps else None
        if part:
            steps = steps[1:]
        if not steps or (parted and not part):
            findings.refuse(name, "lies outside the class folders")
            continue
        findings.items.append(Labelled(path, steps[0], None, part, name))
    for folder in sorted(path for path in source.root.rglob("*") if path.is_dir() and not any(path.iterdir())):
        findings.notes.append(f"{source.name(folder)}: is an empty folder")
    return findings
