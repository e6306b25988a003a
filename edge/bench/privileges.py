"""What a process may ask of the system: taken away, to measure what a line does without it."""

import ctypes
import os
import resource
import sys

VERSION_3 = 0x20080522  # capset(2)
CAP_SYS_NICE = 23  # capabilities(7)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def give_up_priority() -> None:
    """From now on neither this thread nor one that it starts may raise its own priority, as with an ordinary user.

    Raises OSError where the system does not allow even that. There is no way back for the process.
    """
    if not sys.platform.startswith("linux"):
        return
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for kind in ("effective", "permitted", "inheritable"):
        setattr(sets[0], kind, getattr(sets[0], kind) & ~(1 << CAP_SYS_NICE))
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
