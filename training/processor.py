"""What this machine's processor can do."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def processor_flags(cpuinfo: Path = CPUINFO) -> set[str] | None:
    """The words with which Linux names an x86 processor's instructions, as avx512_vnni; None where it does not tell."""
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return None
