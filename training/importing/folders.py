"""Class folders, with train, val and test above them or without; Roboflow's folder export and ImageNet are such."""

from collections.abc import Collection
from itertools import takewhile

from training.importing.found import Findings, Labelled, Source, part_of
from training.layout import PART_FOLDERS


def read_folders(source: Source) -> Findings:
    """The folder that a picture lies in is its class; folders inside a class folder belong to it."""
    findings = Findings()
    places = [path.relative_to(source.root).parts[:-1] for path in source.pictures]
    above = _above_classes(places)
    if above:
        inside = "/".join(places[0][:above])
        findings.notes.append(f"all pictures lie in the folder {inside!r}: the folders in it are taken for the classes")
    parted = any(PART_FOLDERS.get(place[above].casefold()) == "train" for place in places if len(place) > above)
    for path, place in zip(source.pictures, places, strict=True):
        name, steps = source.name(path), place[above:]
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


def _above_classes(places: Collection[tuple[str, ...]]) -> int:
    """How many folders lie around all class folders, as in the zip file of a folder of them."""
    shared = [steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, zip(*places, strict=False))]
    for depth, step in enumerate(shared):
        if PART_FOLDERS.get(step.casefold()) == "train":
            return depth
    return len(shared) if all(len(place) > len(shared) for place in places) else 0
