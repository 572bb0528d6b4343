"""What ends TLS in front of a backend in clear, on one machine: what the group `tls` compares.

    tlsload (processor 1) ---- TLS ---- terminator (processor 0) ---- in clear ---- nginx (processor 1)

All over loopback in one namespace. The certificate is of an own CA, ECDSA P-256 on one port and RSA-2048 on another; TLS 1.3
alone, AES-128-GCM, X25519.
"""
import json
import os
import resource
import subprocess
import tempfile

from lab import process
from lab.daemon import Daemon
from lab.tls import WWW
from lab.tls_authority import Authority, key_pem, pem
from lab.wait import until
from lab.wireguard import ROOT, Missing
from measure.cost import cpu_seconds

TLSLOAD = f"{ROOT}/target/release/tlsload"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
# By layer 4, and the same by HTTP/1.1, as far as each can.
LAYER4 = ("adit-tls", "nginx-stream", "haproxy-tcp")
HTTP = ("adit-http", "nginx-http", "haproxy-http")
ENDS = (*LAYER4, *HTTP)
# Whom each of ours is compared with.
RIVALS = {ours: tuple(rivals) for ours, *rivals in (LAYER4, HTTP)}
PORTS = {"ecdsa": 8443, "rsa": 8444}
PLAIN = 8080
# Idle connections to the backend that each may keep in HTTP mode: as many as come at once, and more.
KEPT = 128
BODIES = {"1k": 1 << 10, "1m": 1 << 20, "16m": 16 << 20}
# Where each of them runs. The terminator shares its processor with nobody.
TERMINATOR, OTHERS = "0", "1"
OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

STATIC = """
daemon off; master_process off; pid {folder}/backend.pid; error_log {folder}/backend.log crit;

events {{ worker_connections 15000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 600s; client_header_timeout 600s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{plain} backlog=8192; root {folder}/files; }}
}}
"""
NGINX = """
{module}
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
events {{ worker_connections 15000; }}
"""
NGINX_TLS = """
    ssl_certificate {folder}/{kind}.pem; ssl_certificate_key {folder}/{kind}-key.pem; ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519; ssl_session_tickets on;
"""
# What adit's HTTP mode tells the backend of a client, whether asked to or not: the others are asked.
NGINX_TOLD = {"Host": "$http_host", "Forwarded": '"for=$remote_addr;host=$http_host;proto=https"', "X-Forwarded-For": "$remote_addr",
              "X-Real-IP": "$remote_addr", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "$http_host",
              "X-Forwarded-Port": "$server_port", "X-Request-ID": "$request_id"}
HAPROXY_TOLD = {"Forwarded": '"for=%[src];host=%[req.hdr(host)];proto=https"', "X-Forwarded-For": "%[src]", "X-Real-IP": "%[src]",
                "X-Forwarded-Proto": "https", "X-Forwarded-Host": "%[req.hdr(host)]", "X-Forwarded-Port": "%[dst_port]",
                "X-Request-ID": "%[uuid()]"}
HAPROXY = """
global
  nbthread 1
  maxconn 7000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  tune.ssl.default-dh-param 2048
defaults
  mode {mode}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
"""


def require(name):
    """Raises Missing, with a sentence that says what to do, if its program is not there."""
    needs = {TLSLOAD: "bench/run builds it", "/usr/sbin/nginx": "apt-get install nginx-light"}
    needs |= {"adit": {f"{ROOT}/target/release/aditd": "bench/run builds it"}, "nginx": {STREAM_MODULE: "apt-get install libnginx-mod-stream"},
              "haproxy": {"/usr/sbin/haproxy": "apt-get install haproxy"}}[name.partition("-")[0]]
    for path, words in needs.items():
        if not os.path.exists(path):
            raise Missing(f"{name}: no {path} ({words})")


def version(name):
    """What its program calls itself."""
    words = {"nginx": ["/usr/sbin/nginx", "-v"], "haproxy": ["/usr/sbin/haproxy", "-v"]}.get(name.partition("-")[0])
    text = process.run(words, check=False)[1].splitlines()[0] if words else "of this tree"
    return text.removeprefix("nginx version: ")


class TlsEnds:
    """A terminator and its backend, started."""

    def __init__(self, net, name):
        self.net, self.name, self.host = net, name, net.host("a")
        self.folder = tempfile.mkdtemp(prefix="adit-bench-", dir="/dev/shm")
        net.stack.callback(process.run, ["rm", "-r", self.folder])
        os.chmod(self.folder, 0o755)
        # A connection that is over must not keep its port for a minute.
        self.host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        self.host.sysctl("net.ipv4.tcp_tw_reuse", 1)
        self.host.sysctl("net.ipv4.tcp_max_syn_backlog", 8192)
        self.host.sysctl("net.core.somaxconn", 8192)
        self.files()
        self.start("/usr/sbin/nginx", "-c", self.written("backend.conf", STATIC.format(folder=self.folder, plain=PLAIN)), on=OTHERS)
        self.listens(PLAIN)
        kind = name.partition("-")[0]
        self.process = {"adit": self.adit, "nginx": self.nginx, "haproxy": self.haproxy}[kind]()
        for port in PORTS.values():
            self.listens(port)

    def listens(self, port):
        until(lambda: f":{port} " in self.host.run("ss", "-Htln"), 10, f"port {port}")

    def start(self, *command, on=TERMINATOR):
        return self.host.start("taskset", "-c", on, "prlimit", f"--nofile={OPEN_FILES}", *command)

    def written(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def files(self):
        os.makedirs(f"{self.folder}/files")
        for name, size in BODIES.items():
            self.written(f"files/{name}", "x" * size)
        root = Authority("root")
        issuing = Authority("issuing", root)
        self.ca = self.written("root.pem", pem(root.certificate))
        self.chains = {}
        for kind in PORTS:
            leaf, key = issuing.issue([WWW], kind)
            self.chains[kind] = (pem(leaf, issuing.certificate), key_pem(key))
            self.written(f"{kind}.pem", self.chains[kind][0])
            # HAProxy wants both in one file.
            self.written(f"{kind}-both.pem", "".join(self.chains[kind]))
            self.written(f"{kind}-key.pem", self.chains[kind][1])

    def adit(self):
        a = Daemon(self.host)
        a.config["tls"] = {}
        for kind, port in PORTS.items():
            text, key = self.chains[kind]
            entry = {"chain_file": self.written(f"{kind}.pem", text), "key_file": a.secret(f"{kind}-key.pem", key)}
            a.config["tls"][kind] = {"listen": [f"127.0.0.1:{port}"], "certificates": [entry],
                                     "route": {"app": {"backend": [f"127.0.0.1:{PLAIN}"]}}}
            if self.name.endswith("http"):
                a.config["tls"][kind]["route"]["app"]["http"] = {"backend_idle": KEPT, "idle_timeout": "10m"}
        command = a.command
        a.command = lambda: ("taskset", "-c", TERMINATOR, "prlimit", f"--nofile={OPEN_FILES}", *command())
        return a.start().process

    def nginx(self):
        http = self.name.endswith("http")
        text = NGINX.format(folder=self.folder, module="" if http else f"load_module {STREAM_MODULE};")
        servers = ""
        for kind, port in PORTS.items():
            tls = NGINX_TLS.format(folder=self.folder, kind=kind)
            told = " ".join(f"proxy_set_header {name} {value};" for name, value in NGINX_TOLD.items())
            to = (f"location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; {told} }}"
                  if http else f"proxy_pass 127.0.0.1:{PLAIN};")
            servers += f"  server {{ listen 127.0.0.1:{port} ssl backlog=8192; {tls} {to} }}\n"
        if http:
            paths = "".join(f"{one}_temp_path {self.folder}; " for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            text += (f"http {{ access_log off; {paths} keepalive_requests 100000000; keepalive_timeout 600s;\n"
                     f"  client_header_timeout 600s; upstream app {{ server 127.0.0.1:{PLAIN}; keepalive {KEPT}; }}\n{servers} }}\n")
        else:
            text += f"stream {{ proxy_timeout 600s; tcp_nodelay on;\n{servers} }}\n"
        return self.start("/usr/sbin/nginx", "-c", self.written("nginx.conf", text))

    def haproxy(self):
        mode = self.name.partition("-")[2]
        text = HAPROXY.format(mode=mode)
        told = "".join(f"  http-request set-header {name} {value}\n" for name, value in HAPROXY_TOLD.items() if mode == "http")
        for kind, port in PORTS.items():
            text += (f"frontend {kind}\n  bind 127.0.0.1:{port} ssl crt {self.folder}/{kind}-both.pem curves X25519 backlog 8192\n"
                     f"{told}  default_backend app\n")
        text += f"backend app\n  server one 127.0.0.1:{PLAIN}\n"
        return self.start("/usr/sbin/haproxy", "-db", "-f", self.written("haproxy.cfg", text))

    # ------------------------------------------------------------------------------------------------------ asking it

    def load(self, *words, port="ecdsa", connections=64, seconds=2.0, hybrid=False):
        """What tlsload tells, and the processor time that the terminator took meanwhile, its first connections included."""
        before = cpu_seconds(self.process.pid)
        command = ["taskset", "-c", OTHERS, "prlimit", f"--nofile={OPEN_FILES}", TLSLOAD, f"127.0.0.1:{PORTS[port]}", "--ca", self.ca,
                   "--connections", connections, "--seconds", seconds, *(["--hybrid"] if hybrid else []), *words]
        told = json.loads(self.host.run(*command, timeout=60 + 4 * seconds))
        return {**told, "cpu": cpu_seconds(self.process.pid) - before}

    def held(self, count):
        """Opens so many idle connections; gives what ends them."""
        command = self.host.argv("taskset", "-c", OTHERS, "prlimit", f"--nofile={OPEN_FILES}", TLSLOAD,
                                 f"127.0.0.1:{PORTS['ecdsa']}", "--ca", self.ca, "--connections", count, "hold")
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.net.stack.callback(child.kill)
        assert child.stdout.readline() == "there\n", f"{count} connections could not be held"
        return child

    def memory(self):
        """The terminator's share of memory (PSS), in bytes."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
