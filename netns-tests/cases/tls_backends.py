"""What aditd's TLS terminator does about its backends, and against those who mean no good."""
import os
import time

from lab.case import case
from lab.tls import WWW, curl, terminator
from lab.wait import until

# Answers with its name; at /health with 503 as long as a file exists.
CHECKED = """
import http.server, os, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        sick = self.path == "/health" and os.path.exists(sys.argv[3])
        body = sys.argv[2].encode()
        self.send_response(503 if sick else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def backend_of(a, address, route="app"):
    """What the status tells of a backend."""
    backends = a.status()["tls"]["web"]["routes"][route]["backends"]
    return next(one for one in backends if one["address"] == address)


#   curl ---- aditd ---- two backends, which it asks for /health
@case()
def checks(net):
    """A backend whose health check fails gets nothing until it passes; with all down each is tried; with slow start it
    comes back little by little."""
    a, web = terminator(net)
    sick = {port: f"{a.folder}/sick-{port}" for port in (8081, 8082)}
    for port, file in sick.items():
        a.host.start("python3", "-c", CHECKED, str(port), str(port), file)
    until(lambda: "8082" in a.host.run("ss", "-Htln"), 5, "the backends")
    web["route"]["app"] |= {"backend": ["127.0.0.1:8081", "127.0.0.1:8082"],
                            "check": {"every": "100ms", "timeout": "100ms", "rise": 2, "fall": 2, "http": "/health"}}
    a.reload()
    up = lambda port: backend_of(a, f"127.0.0.1:{port}")["checks"]["up"]
    until(lambda: up(8081) and up(8082) and backend_of(a, "127.0.0.1:8081")["checks"]["passed"], 5, "both up")
    asked = lambda count: {curl(a)[1] for _ in range(count)}
    assert asked(4) == {"8081", "8082"}
    open(sick[8081], "w").close()
    until(lambda: not up(8081), 5, "one down")
    assert asked(6) == {"8082"}
    told = backend_of(a, "127.0.0.1:8081")
    assert "503" in told["checks"]["error"] and told["checks"]["changes"] == 1, told
    assert f"the backend 127.0.0.1:8081 of route app is down" in a.ctl("status")[1]
    assert 'adit_tls_backend_up{listener="web",route="app",backend="127.0.0.1:8081"} 0' in a.http("GET", "/metrics")[1]
    open(sick[8082], "w").close()
    until(lambda: not up(8082), 5, "both down")
    assert asked(4) == {"8081", "8082"}, "with all down each is tried"
    os.unlink(sick[8081])
    until(lambda: up(8081), 5, "one up again")
    assert asked(6) == {"8081"}
    assert "backend 127.0.0.1:8081 of route app is down: GET /health: 503" in a.process.output()
    assert "backend 127.0.0.1:8081 of route app is up" in a.process.output()
    web["route"]["app"]["slow_start"] = "1h"
    a.reload()
    os.unlink(sick[8082])
    until(lambda: up(8082), 5, "the other up again")
    assert backend_of(a, "127.0.0.1:8082")["share"] < 0.1
    answers = [curl(a)[1] for _ in range(20)]
    assert answers.count("8082") <= 4, answers
