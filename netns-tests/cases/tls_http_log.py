"""What the access log tells where HTTP is read, and PROXY headers ahead of those who come in clear."""
import json
import os

from lab.case import case
from lab.http import gateway
from lab.tls import OTHER, WWW, curl, s_client
from lab.wait import until

# Says what no program would, to port 443 as to 80: ends of lines, what moves a terminal's cursor, and quotes.
ODD = f"""
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for port in 443, 80:
    for head in ("GET /\\u202e\\x9b31m%0d%0aend=done\\"x HTTP/1.1\\r\\nHost: {WWW}", "GET / HTTP/1.1\\r\\nHost: a\\" end=\\"done\\x9b",
                 "GET /\\x1b[2J HTTP/1.1\\r\\nHost: {WWW}"):
        raw = socket.create_connection(("127.0.0.1", port))
        link = context.wrap_socket(raw, server_hostname="{WWW}") if port == 443 else raw
        link.sendall(head.encode() + b"\\r\\nConnection: close\\r\\n\\r\\n")
        while link.recv(4096):
            pass
"""

# Begins HTTP/2 that was not agreed, then asks for a target that is too long, and with a head that is. Prints what it is told.
UNREAD = f"""
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for head in ("PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", "GET /" + 65534 * "a" + " HTTP/1.1\\r\\nHost: {WWW}\\r\\n\\r\\n",
             "GET /" + (1 << 20) * "a"):
    link = context.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname="{WWW}")
    link.sendall(head.encode())
    print(link.recv(4096)[9:12].decode() or "nothing")
"""

# Sends its argument in clear, and prints the first line that comes back.
CLEAR = """
import socket, sys
link = socket.create_connection(("127.0.0.1", 80))
link.sendall(sys.argv[1].encode())
try:
    print(link.recv(4096).decode().split("\\r\\n")[0])
except ConnectionResetError:
    pass
"""


class Log:
    """The access log of a table."""

    def __init__(self, a, web, form="json"):
        folder = f"{a.folder}/log"
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        self.file = f"{folder}/access.log"
        web["access_log"] = {"file": self.file, "format": form}
        a.reload()

    def text(self):
        with open(self.file, newline="") as file:
            return file.read()

    def lines(self, count):
        """So many lines, and no more of them."""
        until(lambda: self.text().count("\n") >= count, 5, f"{count} lines")
        found = [json.loads(line) for line in self.text().splitlines()]
        assert len(found) == count, found
        return found


#   curl ---- aditd, which writes a line for each request ---- a backend
@case()
def lines(net):
    """Each request is a line: what was asked, what came of it and whose fault that is; a connection without any is one too."""
    a, web, route = gateway(net)
    log = Log(a, web)
    body = f"{a.folder}/body"
    with open(body, "wb") as file:
        file.truncate(70_000)
    target = ("--request-target", "/orders?token=secret")
    assert curl(a, WWW, "--http2", "-T", body, *target)[0] == 0
    assert curl(a, WWW, "--http1.1", *target)[0] == 0
    put, get = log.lines(2)
    for line, protocol, method, alpn in ((put, "HTTP/2", "PUT", "h2"), (get, "HTTP/1.1", "GET", "http/1.1")):
        found = [line[key] for key in ("kind", "protocol", "method", "host", "path", "status", "end", "alpn", "sni", "route")]
        assert found == ["request", protocol, method, WWW, "/orders", 200, "done", alpn, WWW, "app"], line
        assert line["backend"] == "127.0.0.1:8081" and line["error"] is None and len(line["id"]) == 32, line
        assert 0 < line["first_byte"] <= line["duration"] < 5 and line["client"].startswith("127.0.0.1:"), line
        assert line["version"] == "TLSv1.3" and line["suite"] and line["group"] and line["ja4"].startswith("t13d"), line
    assert put["received"] == 70_000 and get["received"] == 0 and get["sent"] > 100 and "secret" not in log.text(), (put, get)
    assert get["id"] not in put["id"]
    curl(a, WWW, "-H", f"Host: {OTHER}")
    curl(a, WWW, "-X", "TRACE", "--http1.1")
    # A handshake, and its end.
    s_client(a, "-alpn", "http/1.1")
    curl(a, OTHER)
    a.host.attempt("curl", "-sS", "-H", f"Host: {WWW}", "http://127.0.0.1/x?y")
    kinds = [[line["kind"], line.get("status"), line["end"]] for line in log.lines(7)[2:]]
    assert kinds == [["request", 421, "refused_misdirected"], ["request", 405, "refused_method"], ["connection", None, "done"],
                     ["connection", None, "refused"], ["request", 308, "done"]], kinds
    route["backend"] = ["127.0.0.1:9"]
    a.reload()
    curl(a, WWW)
    last = log.lines(8)[-1]
    assert (last["status"], last["end"], last["backend"]) == (502, "backend_refused", "127.0.0.1:9"), last
    assert "refused" in last["error"], last
    # Who leaves before there is an answer, and who is there when the daemon ends.
    route["backend"] = ["127.0.0.1:8081"]
    a.reload()
    path = ("-T", body, "-H", "X-Pause: 5")
    curl(a, WWW, *path, "-m", "0.5")
    assert log.lines(9)[-1]["end"] == "left"
    stays = a.host.start("curl", "-sSk", "--resolve", f"{WWW}:443:127.0.0.1", *path, "-H", "X-Pause: 9", f"https://{WWW}/")
    until(lambda: a.status()["tls"]["web"]["open"] == 1, 5, "a request")
    a.stop()
    stays.wait(10)
    found = {(line["kind"], line["end"]) for line in log.lines(11)[9:]}
    assert found == {("request", "stopped"), ("connection", "stopped")}, found


@case()
def forged(net):
    """Whatever a client says, it writes no line of its own, and nothing that a terminal would obey."""
    a, web, _ = gateway(net)
    log = Log(a, web)
    a.host.run("python3", "-c", ODD)
    found = log.lines(6)
    assert [line["end"] for line in found] == ["done", "refused_host", "malformed"] * 2, found
    assert found[0]["path"] == found[3]["path"] == '/\u202e\x9b31m%0d%0aend=done"x', found
    web["access_log"]["format"] = "text"
    a.reload()
    a.host.run("python3", "-c", ODD)
    until(lambda: log.text().count("\n") >= 12, 5, "lines of text")
    text = log.text()
    shown = [character for character in text if character != "\n" and not character.isprintable()]
    assert not shown and text.count("\n") == 12, (shown, text)
    assert [line.rsplit(" ", 1)[1] for line in text.splitlines()[6:]] == ["end=done", "end=refused_host", "end=malformed"] * 2, text


@case()
def unread(net):
    """Of what cannot be read the log has the status that was sent, and none if nothing was."""
    a, web, route = gateway(net)
    route["http"]["header_bytes"] = 1 << 20
    log = Log(a, web)
    assert a.host.run("python3", "-c", UNREAD).split() == ["nothing", "414", "431"]
    found = [[line["kind"], line["status"], line["end"]] for line in log.lines(3)]
    assert found == [["request", status, "malformed"] for status in (None, 414, 431)], found


#   a client that begins with a PROXY header ---- 127.0.0.1:80 aditd, which takes it from whom it trusts
@case()
def passed_on(net):
    """Ahead of who comes in clear a PROXY header has to come from who is trusted, and from others it is no HTTP."""
    a, web, _ = gateway(net)
    log = Log(a, web)

    def ask(client=None):
        header = f"PROXY TCP4 {client} 198.51.100.9 4660 80\r\n" if client else ""
        return a.host.run("python3", "-c", CLEAR, f"{header}GET /a HTTP/1.1\r\nHost: {WWW}\r\n\r\n").strip()

    assert ask() == "HTTP/1.1 308 Permanent Redirect"
    assert ask("192.0.2.7") == "HTTP/1.1 400 Bad Request"
    web["accept_proxy"] = ["127.0.0.0/8"]
    a.reload()
    assert ask("192.0.2.7") == "HTTP/1.1 308 Permanent Redirect"
    assert ask() == "", "an answer to who did not say for whom"
    found = log.lines(4)
    assert [line["end"] for line in found] == ["done", "malformed", "done", "proxy"], found
    assert found[2]["client"] == "192.0.2.7:4660" and found[2]["local"] == "198.51.100.9:80", found[2]
    assert found[2]["proxy"].startswith("127.0.0.1:"), found[2]
    assert a.status()["tls"]["web"]["failures"]["proxy"] == 1
    # The limits are those of the client, not of who passes it on.
    web["max_handshakes_per_address"] = 1
    a.reload()
    answers = [ask("192.0.2.7") for _ in range(4)]
    assert answers[0] and not answers[3], answers
    assert ask("192.0.2.8"), "one client's connections count for another"
