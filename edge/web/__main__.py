"""`python -m edge.web LISTENING CHANNEL`: the web side's process. The line starts it, a person never does."""

import logging
import socket
import sys

from edge.web.channel import Channel
from edge.web.server import serve

logging.basicConfig(level=logging.WARNING, format="web: %(message)s")
logging.getLogger("waitress").setLevel(logging.ERROR)
listening, channel = (int(argument) for argument in sys.argv[1:])
serve(socket.socket(fileno=listening), Channel(socket.socket(fileno=channel)))
