"""TLS ends at aditd and HTTP is read there: what curl and h2load get through it, and what backends see."""
import time

from lab.case import case
from lab.http import gateway, load, nginx
from lab.tls import OTHER, WWW, certificate, curl, s_client


def seen(output):
    """Headers that the backend got, in lower case."""
    lines = (line.partition(": ") for line in output.splitlines())
    return {name.lower(): value for name, _, value in lines if value}


#   curl, h2load ---- 127.0.0.1:443 aditd ---- 127.0.0.1:8081 a backend that tells what it got
#                \---- 127.0.0.1:80  aditd: "come by HTTPS"
@case()
def requests(net):
    """Requests of HTTP/1.1 and HTTP/2 reach a backend with the client's address, and nothing that the client made up."""
    a, _, route = gateway(net, hsts={"max_age": "730d", "subdomains": True})
    for version in "--http1.1", "--http2":
        code, output = curl(a, WWW, version, "-H", "X-Forwarded-For: 192.0.2.66", "-H", "Forwarded: for=192.0.2.66", "-H",
                            "X-Real-IP: 192.0.2.66", "-H", "X_Forwarded_For: 192.0.2.66", "-H", "X-Request-Id: mine", "-i")
        assert code == 0 and "192.0.2.66" not in output, (version, output)
        told = seen(output)
        assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1" and told["host"] == WWW, output
        assert told["forwarded"] == f"for=127.0.0.1;host={WWW};proto=https" and told["x-forwarded-proto"] == "https", output
        assert told["x-request-id"] != "mine" and told["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert output.startswith("HTTP/2 200" if version == "--http2" else "HTTP/1.1 200"), output
        assert "GET / HTTP/1.1" in output and "connection" not in told, output
