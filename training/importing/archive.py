"""A source, whether folder or zip file: a zip is unpacked beside the result, and only if it is an honest one."""

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rich.progress import Progress

from training.errors import DatasetError, TrainingError
from training.files import scratch_folder

MOST_FILES = 1_000_000
# Pictures hardly shrink in a zip, label files twentyfold. What grows beyond both is a bomb.
MOST_GROWTH, ALLOWANCE = 30, 1 << 30


@contextmanager
def opened(path: Path, scratch: Path, progress: Progress) -> Iterator[Path]:
    """The folder that a source is, or that its zip file is unpacked to meanwhile. DatasetError for what is neither."""
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise DatasetError(f"{path}: no such folder or zip file")
    if not path.is_file() or not zipfile.is_zipfile(path):  # a named pipe would hold it up for ever
        raise DatasetError(f"{path}: is neither a folder nor a zip file")
    with scratch_folder(scratch) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path, folder, progress)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise DatasetError(f"{path}: is a damaged or unusual zip file ({error})") from None
        except OSError as error:
            raise TrainingError(f"{path}: cannot be unpacked in {scratch} ({error.strerror or error})") from None
        yield folder


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path, progress: Progress) -> None:
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise DatasetError(f"{path}: holds {len(members)} files; at most {MOST_FILES} are taken")
    targets: set[PurePosixPath] = set()
    for member in members:
        target = _target(path, member)
        if target in targets and not member.is_dir():
            raise DatasetError(f"{path}: holds {member.filename!r} twice")
        targets.add(target)
    room = min(path.stat().st_size * MOST_GROWTH + ALLOWANCE, shutil.disk_usage(folder).free)
    if sum(member.file_size for member in members) > room:
        raise DatasetError(_too_large(path, room))
    for member in progress.track(members, description="unpacking"):
        place = folder / _target(path, member)
        if member.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as packed, place.open("xb") as file:
            while block := packed.read(1 << 20):
                room -= len(block)
                if room < 0:  # its own table of contents said less
                    raise DatasetError(_too_large(path, room))
                file.write(block)


def _target(path: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Where a member goes, relative to the folder; DatasetError for what would go elsewhere or is no plain file."""
    name = PurePosixPath(_meant(member).replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
        raise DatasetError(f"{path}: holds {member.filename!r}, which would be written outside its folder")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DatasetError(f"{path}: holds {member.filename!r}, which is a link or a device, not a file")
    if member.flag_bits & 1:
        raise DatasetError(f"{path}: is encrypted; unpack it first")
    return name


def _meant(member: zipfile.ZipInfo) -> str:
    """A member's name. macOS writes UTF-8 and does not say so, so that it is read as DOS's letters (APPNOTE, D.1)."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _too_large(path: Path, room: int) -> str:
    return f"{path}: unpacks to more than a zip of pictures can hold, or than the disk has room for; nothing was taken"
