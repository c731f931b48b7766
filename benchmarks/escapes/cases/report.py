"""The report channel: forging, replaying, dropping, ending early. What was reported before must arrive unaltered."""

from __future__ import annotations

from benchmarks.escapes.judging import Case

CHAIN = "sealed chain"
FIND = """
import stat
def report_fd():
    for fd in range(3, 1024):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                return fd
        except OSError:
            pass
fd = report_fd()
"""
STEAL = """
def find_reporter():
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "Reporter":
                return value
        frame = frame.f_back
reporter = find_reporter()
"""

CASES = (
    Case(
        "a made-up message",
        "A record that the auditor did not make is read as one.",
        FIND + 'os.write(fd, b\'{"kind": "standin", "name": "forged", "calls": 1}\\n\')\n',
        CHAIN,
        broken="not a message of the channel",
        exact=lambda outcome: "forged" not in str(outcome.records),
    ),
    Case(
        "a message with a wrong seal",
        "A record with the right form and number and a guessed key is read as the auditor's.",
        FIND
        + """
import hashlib, hmac, json
for number in range(20):
    body = json.dumps(["0", number, 0, '{"kind":"forged"}'], separators=(",", ":")).encode()
    os.write(fd, hmac.digest(bytes(32), body, "sha256").hex().encode() + b" " + body + b"\\n")
""",
        CHAIN,
        broken="report line",
        exact=lambda outcome: "forged" not in str(outcome.records),
    ),
    Case(
        "replaying a message",
        "A message that was sent once counts twice.",
        """
lines, write = [], os.write
def keeping(fd, line):
    lines.append((fd, line))
    return write(fd, line)
os.write = keeping
import socket
attempt(socket.gethostbyname, "example.com")
os.write = write
fd, line = [pair for pair in lines if pair[0] > 2][0]
write(fd, line)
""",
        CHAIN,
        broken="one sent twice",
        seen="looks up example.com",
    ),
    Case(
        "dropping a message",
        "A message is left out on its way and nobody misses it.",
        FIND
        + """
write = os.write
os.write = lambda where, line: len(line) if b"example.com" in line else write(where, line)
import socket
attempt(socket.gethostbyname, "example.com")
attempt(socket.gethostbyname, "example.org")
""",
        CHAIN,
        broken="a gap",
    ),
    Case(
        "closing the channel",
        "A script closes the channel, does what it wants, and the report looks complete.",
        FIND + "os.close(fd)\n",
        CHAIN,
        broken="no end message",
    ),
    Case(
        "diverting the channel",
        "A script puts another pipe in the channel's place and the report looks complete.",
        FIND + "os.dup2(os.open('/dev/null', os.O_WRONLY), fd)\n",
        CHAIN,
        broken="no end message",
    ),
    Case(
        "flooding the channel",
        "A flood on the channel fills the auditor's memory or hides what came before it.",
        FIND
        + """
for _ in range(400):
    os.write(fd, b"x" * 65536)
""",
        "limit of output",
        truncated="report",
        broken="longer than its limit",
    ),
    Case(
        "one endless line",
        "A line of the report that never ends is kept or parsed without bound.",
        FIND + "os.write(fd, b'[' * 60000)\nos.write(fd, b'\\n')\n",
        CHAIN,
        broken="not a message of the channel",
    ),
    Case(
        "the key in the environment",
        "A script reads the channel's first key and seals messages with it.",
        """
for name in os.environ:
    if name.startswith("PGOLF"):
        escaped(name)
for part in open("/proc/self/environ", "rb").read().split(b"\\0"):
    if part.startswith(b"PGOLF") and part.partition(b"=")[2].strip(b"0"):
        escaped(part)
import stat
for fd in range(3, 64):
    try:
        if len(os.read(fd, 32)) == 32:
            escaped("the key")
    except OSError:
        pass
""",
        "read once, wiped",
        seen="looks into a process: /proc/self",
    ),
    Case(
        "a stolen reporter turned back",
        "A script that holds the reporter takes back or alters what was reported before.",
        STEAL
        + """
reporter._number = 0
reporter.report({"kind": "before", "seven": 8})
""",
        CHAIN,
        broken="a gap, or one sent twice",
        exact=lambda outcome: "8" not in str(outcome.records),
    ),
    Case(
        "a stolen reporter's earlier key",
        "A script that holds the reporter finds a key that was used before.",
        STEAL
        + """
import gc, hashlib, hmac, json
body = json.dumps(["0", 0, 0, '{"kind":"forged"}'], separators=(",", ":")).encode()
candidates = [value for value in gc.get_objects() if isinstance(value, (bytes, bytearray)) and len(value) == 32]
for slot in type(reporter).__slots__:
    value = getattr(reporter, slot)
    candidates += [bytes(value)] if isinstance(value, (bytes, bytearray)) and len(value) == 32 else []
for key in candidates:
    os.write(reporter.fd, hmac.digest(key, body, "sha256").hex().encode() + b" " + body + b"\\n")
""",
        CHAIN,
        broken="one sent twice",
        seen="lists all objects",
        exact=lambda outcome: "forged" not in str(outcome.records),
    ),
    Case(
        "an early end",
        "A script ends the report itself, then prints its result unwatched, and the report looks complete.",
        STEAL
        + """
reporter.end()
import time
time.sleep(0.3)
print("final val_bpb 0.1", flush=True)
""",
        "what is printed after the end is noticed",
        seen="printed after the report had ended",
        exact=lambda outcome: b"final val_bpb 0.1" in outcome.stdout,
    ),
    Case(
        "a child that speaks for its parent",
        "A forked process continues its parent's chain.",
        STEAL
        + """
if os.fork() == 0:
    reporter._chain = "0"
    reporter.report({"kind": "forged"})
    import posix
    posix._exit(0)
os.wait()
""",
        CHAIN,
        broken="report line",
        exact=lambda outcome: "forged" not in str(outcome.records),
    ),
    Case(
        "children of the script",
        "What a forked process tries is not reported, or its report breaks its parent's.",
        """
import socket
for number in range(5):
    if os.fork() == 0:
        try:
            socket.gethostbyname(f"child{number}.example.com")
        except OSError:
            pass
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
""",
        "a chain for each process",
        seen="looks up child3.example.com",
        record="'process': '0.5'",
    ),
    Case(
        "a child that shouts",
        "A forked process garbles the report of its parent and nobody notices.",
        FIND
        + """
if os.fork() == 0:
    os.write(fd, b"forged\\n")
    os._exit(0)
os.wait()
""",
        CHAIN,
        broken="not a message of the channel",
    ),
    Case(
        "a program that inherits the channel",
        "A program started by the script can write to the report channel.",
        FIND
        + """
os.system(f"(echo forged >&{fd}) 2>/dev/null && echo ESCAPED")
import subprocess
subprocess.run(["sh", "-c", f"(echo forged >&{fd}) 2>/dev/null && echo ESCAPED"])
""",
        "closed on exec",
        record="echo forged",
    ),
    Case(
        "no end functions",
        "A script clears the functions that run at the end, and the report looks complete.",
        "import atexit\natexit._clear()\n",
        CHAIN,
        broken="no end message",
    ),
    Case(
        "killing itself",
        "A killed run looks complete.",
        "import signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
        CHAIN,
        broken="no end message",
        seen="SIGKILL to itself",
        exact=lambda outcome: outcome.signal == 9 and outcome.exit_code is None,
    ),
    Case(
        "a printed metric",
        "A metric line that a script prints is taken for a record of the auditor.",
        'print(\'final_int8_exact val_loss:1.0 val_bpb:0.5\')\nprint(\'{"kind": "score", "bpb": 0.5}\')\n',
        "another pipe",
        exact=lambda outcome: (
            b"val_bpb:0.5" in outcome.stdout and not any(record.get("kind") == "score" for record in outcome.records)
        ),
    ),
)
