"""The first instructions of a service's process: bind its life to its owner, give up rights, become it.

Rule: run as a program (``python -I -S launch.py SIGNAL OWNER UID RIGHTS COMMAND...``), before the service's
own code; nothing of the engine is imported. Linux sends SIGNAL when the thread that started us ends,
however it ends. UID 0 keeps the user; RIGHTS ``search`` lets another user than root pass through folders
that only root may enter.
"""

import ctypes
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1
_SECURE_BITS, _CAPABILITIES_STAY = 28, 1 << 2
_AMBIENT, _RAISE = 47, 2
_DAC_OVERRIDE = 1
_CAPABILITY_VERSION = 0x20080522


def _become(libc: ctypes.CDLL, uid: int, *, search: bool) -> None:
    """Another user, with nothing of root's but, if asked, the right to pass through closed folders."""
    if search:
        # else access(2) would answer for the bare user, and PostgreSQL asks it before it trusts its folder
        libc.prctl(_SECURE_BITS, _CAPABILITIES_STAY, 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if search:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        bit = 1 << _DAC_OVERRIDE
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable: low, high
        if libc.capset(header, data) or libc.prctl(_AMBIENT, _RAISE, _DAC_OVERRIDE, 0, 0):
            sys.exit("this container does not let root hand on the right to enter its folders")


def main(death_signal: int, owner: int, uid: int, rights: str, command: list[str]) -> None:
    """Become the command; never returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    if uid:
        _become(libc, uid, search=rights == "search")
    if death_signal:
        # after the change of user, which would clear it
        libc.prctl(_SET_DEATH_SIGNAL, death_signal, 0, 0, 0)
        if os.getppid() != owner:
            os.kill(os.getpid(), signal.SIGKILL)  # the owner ended before we could be bound to it
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 a list, never a shell


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
