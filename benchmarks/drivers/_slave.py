"""The slave of the Modbus benchmark: answers two requests at once, from a process of its own, and nothing else.

It knows the bytes beforehand, so that no master has to wait for its slave's Python.
"""

from __future__ import annotations

import os
import sys
import tty


def serve(replies: dict[bytes, bytes]) -> None:
    """Serve on a new pty, whose name is printed, until the process is ended."""
    master, end = os.openpty()
    tty.setraw(end)
    sys.stdout.write(os.ttyname(end) + "\n")
    sys.stdout.flush()
    buffer = b""
    while True:
        buffer += os.read(master, 256)
        reply = replies.get(buffer)
        if reply is not None:
            os.write(master, reply)
            buffer = b""
        elif len(buffer) > 64:
            buffer = b""


if __name__ == "__main__":
    pairs = sys.argv[1:]
    serve({bytes.fromhex(q): bytes.fromhex(a) for q, a in zip(pairs[::2], pairs[1::2], strict=True)})
