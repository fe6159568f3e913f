"""A network namespace with loopback only, made by system calls, so that it costs milliseconds."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

KINDS = {"network": CLONE_NEWNET, "user and network": CLONE_NEWUSER | CLONE_NEWNET}


def leave() -> str:
    """Moves this process into a network of its own, and says how: a key of `KINDS`, or `none` where it is not allowed and nothing was changed."""
    if not sys.platform.startswith("linux"):
        return "none"
    for kind in KINDS:
        # A namespace cannot be left again, so a child tries first whether loopback comes up in it.
        child = os.fork()
        if child == 0:
            try:
                enter_new(kind)
            except OSError:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            enter_new(kind)
            return kind
    return "none"


def enter_new(kind: str) -> None:
    user, group = os.getuid(), os.getgid()
    call("unshare", KINDS[kind])
    if KINDS[kind] & CLONE_NEWUSER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def join(kind: str, pid: int) -> None:
    """Moves this process into the network of another, which was made as `kind`."""
    if kind == "none":
        return
    names = ("user", "net") if KINDS[kind] & CLONE_NEWUSER else ("net",)
    # Both are opened first: what /proc shows changes with the first step.
    namespaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
    for namespace in namespaces:
        call("setns", namespace, 0)
        os.close(namespace)


def call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
