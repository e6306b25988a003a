"""`python -m edge.web LISTENING CHANNEL`: the web side's process. The line starts it, a person never does."""

import faulthandler
import logging
import os
import socket
import sys

from edge.priority import WEB_NICENESS

# The line has the processor first. Before any thread is born, for they inherit it, and some libraries start theirs
# when they are imported. Not nice(): the line that this was started by may run before others.
os.setpriority(os.PRIO_PROCESS, 0, WEB_NICENESS)

from edge.web.channel import Channel  # noqa: E402
from edge.web.server import serve  # noqa: E402

# The picture libraries write a line of their own for each broken picture, straight to the error output:
# a stranger could fill a log with them. What Python says, and the trace of a crash, still arrive.
log = os.fdopen(os.dup(2), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
sys.stderr = log
faulthandler.enable(log)
logging.basicConfig(level=logging.WARNING, format="web: %(message)s", stream=log)
logging.getLogger("waitress").setLevel(logging.ERROR)

listening, channel = (int(argument) for argument in sys.argv[1:])
serve(socket.socket(fileno=listening), Channel(socket.socket(fileno=channel)))
