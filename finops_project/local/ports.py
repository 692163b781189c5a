"""Ports on the loopback interface: free ones, wanted ones, and who holds a taken one."""

import os
import socket

import psutil

from finops_project.local.home import LocalStackError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wanted_port(variable: str, default: int) -> int:
    """The port that the variable names; raises when it is no port."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LocalStackError(f"{variable} must be a port between 1 and 65535, not {text!r}.")
    return int(text)


def require_free(variable: str, port: int) -> None:
    if not is_free(port):
        raise LocalStackError(f"Port {port} is taken{_holder(port)}: stop it or set {variable} to another port.")


def _holder(port: int) -> str:
    """` by name (pid n)`, or nothing where the system does not tell."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            return _named(connection.pid)
    return ""


def _named(pid: int | None) -> str:
    try:
        return f" by {psutil.Process(pid).name()} (process {pid})" if pid else ""
    except psutil.Error:
        return ""
