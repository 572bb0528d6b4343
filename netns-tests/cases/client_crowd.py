"""adit serve and one user who asks for all of it."""
import json

from cases.client_people import order, people, serve
from lab.case import case
from lab.daemon import NOBODY
from lab.wait import until

# Holds so many connections without a word, again and again, and prints what is answered to those that are sent away.
HOLD = """import socket, sys
while True:
    held = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
    for stream in held:
        stream.connect(sys.argv[1])
    for stream in reversed(held):
        print(stream.recv(4096).decode(), flush=True)
"""
STATUS = json.dumps({"word": "status", "profile": None, "flags": [], "wait": None}).encode() + b"\n"


#   a: nobody's connections, sixteen at a time without a word; root's orders
@case()
def by_one(net):
    """One user of the group has four orders at a time and is told so; those of others are done meanwhile."""
    _, client, _ = people(net)
    path = serve(client)
    user = ("setpriv", f"--reuid={NOBODY.pw_name}", f"--regid={NOBODY.pw_gid}", "--init-groups")
    crowd = client.host.start(*user, "/usr/bin/python3", "-c", HOLD, path, "16")
    until(lambda: crowd.output().count("4 orders of yours are being done") >= 12, 15, "word to those that are too many")
    for _ in range(10):
        answer = order(path, STATUS)
        assert answer["output"].endswith(": down\n"), answer
