"""A gateway that ends TLS in front of a backend, and what curl and openssl say of it."""
import os

from lab.daemon import Daemon
from lab.wait import until

WWW, OTHER = "www.example.com", "mail.example.net"
# Answers with its name; at /health with 503 as long as a file exists, if one is named.
BACKEND = """
import http.server, os, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        sick = self.path == "/health" and any(map(os.path.exists, sys.argv[3:]))
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


def certificate(a, tag, name=WWW, days=30):
    """A new self-signed certificate and its key, under the same file names for the same tag."""
    chain, key = f"{a.folder}/{tag}.pem", f"{a.folder}/{tag}-new.pem"
    a.host.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
               "-out", chain, "-days", str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:*.{name}")
    os.chmod(chain, 0o644)
    with open(key) as file:
        private = a.secret(f"{tag}-key.pem", file.read())
    os.unlink(key)
    return {"chain_file": chain, "key_file": private}


def terminator(net, **more):
    """A daemon that ends TLS on 443 in front of a backend, started; its table."""
    host = net.host("a")
    host.ip("link set lo up")
    a = Daemon(host)
    host.start("python3", "-c", BACKEND, "8080", "app")
    until(lambda: "8080" in host.run("ss", "-Htln"), 15, "the backend")
    a.config["tls"] = {"web": {"listen": ["127.0.0.1:443"], "certificates": [certificate(a, "www")], **more,
                               "route": {"app": {"sni": [WWW, f"*.{WWW}"], "backend": ["127.0.0.1:8080"]}}}}
    a.start()
    return a, a.config["tls"]["web"]


def curl(a, name=WWW, *words, port=443):
    """(code, output) of a request for that name."""
    return a.host.attempt("curl", "-sS", "--cacert", f"{a.folder}/www.pem", "--resolve", f"{name}:{port}:127.0.0.1", *words,
                          f"https://{name}:{port}/")


def s_client(a, *words, name=WWW, port=443):
    """What openssl's client tells of a connection."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, *words]
    return a.host.attempt("timeout", "10", *command, data="")[1]
