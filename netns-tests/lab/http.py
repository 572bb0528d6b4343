"""A gateway in HTTP mode, and backends: one that tells what it got, and nginx."""
from lab.tls import terminator
from lab.wait import until
from lab.wireguard import ROOT

# Unpacked by setup: installed, it would serve this machine.
PROGRAM = f"{ROOT}/target/tools/nginx/usr/sbin/nginx"
# Answers with the request as it came, its headers as lines; reads slowly if it is told so.
ECHO = """
import http.server, socketserver, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do(self):
        pause = float(self.headers.get("X-Pause", 0))
        length, read = self.headers.get("Content-Length"), 0
        if length is None and self.headers.get("Transfer-Encoding"):
            while size := int(self.rfile.readline(), 16):
                read += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        while length and read < int(length):
            read += len(self.rfile.read(min(1 << 20, int(length) - read)))
            time.sleep(pause)
        body = f"{self.requestline}\\n{self.headers}{read} bytes\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "keep-alive")
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/nginx-body;
  server {{
    listen 127.0.0.1:{port} {protocol};
    location / {{ default_type text/plain; {more} return 200 "{body}"; }}
  }}
}}
"""


def gateway(net, **http):
    """A terminator in HTTP mode in front of a backend that answers with what it got, started; its table and its route."""
    a, web = terminator(net)
    a.host.start("python3", "-c", ECHO, "8081")
    until(lambda: "8081" in a.host.run("ss", "-Htln"), 15, "the backend")
    route = web["route"]["app"]
    route["backend"], route["http"] = ["127.0.0.1:8081"], http
    web["plain"] = ["127.0.0.1:80"]
    a.reload()
    return a, web, route


def nginx(a, port=8082, body="x" * 1024, protocol="", more=""):
    """nginx as a backend with this answer, by HTTP/2 if `protocol` says so."""
    path = f"{a.folder}/nginx-{port}.conf"
    with open(path, "w") as file:
        file.write(NGINX.format(folder=a.folder, port=port, body=body, protocol=protocol, more=more))
    a.host.start(PROGRAM, "-c", path)
    until(lambda: f":{port}" in a.host.run("ss", "-Htln"), 15, "nginx")
