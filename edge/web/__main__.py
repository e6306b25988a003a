"""`python -m edge.web LISTENING CHANNEL`: the web side's process. The line starts it, a person never does."""

import faulthandler
import logging
import os
import socket
import sys

from edge.web.channel import Channel
from edge.web.server import serve

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
