"""TLS ends at aditd and HTTP is read there: what curl and h2load get through it, and what backends see."""
import re
import time

from lab.case import case
from lab.http import gateway, nginx
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


@case()
def clear(net):
    """Whoever comes in clear is sent to HTTPS, with the path, and gets nothing else; strangers not even that."""
    a, _, _ = gateway(net)

    def ask(*words):
        return a.host.attempt("curl", "-sSi", "--resolve", f"{WWW}:80:127.0.0.1", *words)[1]

    moved = ask(f"http://{WWW}/a%20b?c=d")
    assert moved.startswith("HTTP/1.1 308 ") and seen(moved)["location"] == f"https://{WWW}/a%20b?c=d", moved
    assert ask("-X", "POST", "-d", "x", f"http://{WWW}/").startswith("HTTP/1.1 308 ")
    assert ask("-H", f"Host: {OTHER}", f"http://{WWW}/").startswith("HTTP/1.1 421 ")
    assert ask("-H", "Host:", f"http://{WWW}/").startswith("HTTP/1.1 400 ")


@case()
def misdirected(net):
    """A request for another host than the one that TLS was made for is refused, also if another route has that host."""
    a, web, route = gateway(net)
    web["certificates"].append(certificate(a, "mail", OTHER))
    web["route"]["mail"] = {**route, "sni": [OTHER]}
    a.reload()
    assert curl(a, OTHER, "-k")[0] == 0
    for version in "--http1.1", "--http2":
        for host in OTHER, f"x.{WWW}", "127.0.0.1":
            output = curl(a, WWW, version, "-i", "-H", f"Host: {host}")[1]
            assert " 421" in output.splitlines()[0], (version, host, output)
    agreed = s_client(a, "-alpn", "h2,http/1.1")
    assert "ALPN protocol: h2" in agreed, agreed


@case(limit=60)
def reloads(net):
    """Reloads of another route leave connections alone under load; those of its own end them, and fail no request."""
    a, web, route = gateway(net)
    nginx(a)
    nginx(a, 8083)
    route["backend"] = ["127.0.0.1:8082"]
    web["certificates"].append(certificate(a, "mail", OTHER))
    other = web["route"]["mail"] = {**route, "sni": [OTHER]}
    a.reload()

    def change(which):
        for at in range(4):
            time.sleep(0.4)
            which["backend"] = ["127.0.0.1:8083", "127.0.0.1:8082"][at % 2:][:1]
            a.reload()

    # Whoever is told GOAWAY counts for h2load as a failed request, so it shows that nobody was.
    for words in (), ("--h1",):
        running = a.host.start("h2load", "-D", "2", "-c", "8", "-m", "10", *words, "--connect-to=127.0.0.1:443",
                               f"https://{WWW}:443/")
        change(other)
        running.wait(20)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", running.output())
        done, failed, errored = map(int, counts.groups())
        assert done > 100 and failed == errored == 0, (words, running.output()[-900:])
    for version in "--http2", "--http1.1":
        # Some 2 s of requests, one after the other.
        running = a.host.start("curl", "-sSk", version, "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", "--resolve",
                               f"{WWW}:443:127.0.0.1", "-m", "20", "--rate", "1000/s", f"https://{WWW}/?[1-2000]")
        change(route)
        running.wait(20)
        codes = re.findall(r"^(\d{3}) (\d)$", running.output(), re.M)
        assert len(codes) == 2000 and {code for code, _ in codes} == {"200"}, (version, running.output()[-900:])
        assert sum(int(made) for _, made in codes) > 1, f"{version}: no reload ended the connection"
    http = a.status()["tls"]["web"]["routes"]["app"]["http"]
    assert http["requests"]["2xx"] > 200 and http["requests"]["5xx"] == 0 and sum(http["buckets"]) >= 200, http


@case(limit=60)
def bodies(net):
    """100 MB to a backend that reads slowly arrive whole, and aditd holds few of them at a time."""
    a, _, route = gateway(net)
    path = f"{a.folder}/body"
    with open(path, "wb") as file:
        file.truncate(100 << 20)
    before = peak(a)
    for version in "--http1.1", "--http2":
        code, output = curl(a, WWW, version, "-T", path, "-H", "X-Pause: 0.01", "-H", "Expect:")
        assert code == 0 and output.endswith(f"{100 << 20} bytes\n"), (code, output[-200:])
    held = peak(a) - before
    assert held < 40 << 10, f"{held} KiB more"
    route["http"]["body_bytes"] = 1 << 20
    a.reload()
    code, output = curl(a, WWW, "--http1.1", "-i", "-T", path)
    assert output.startswith("HTTP/1.1 413"), (code, output)


@case()
def errors(net):
    """A backend that is gone is 502, and nothing is told of it; grpc's trailers come through HTTP/2 on both sides."""
    a, web, route = gateway(net)
    route["backend"] = ["127.0.0.1:9"]
    a.reload()
    code, output = curl(a, WWW, "-i")
    assert output.startswith("HTTP/2 502") and output.endswith("502 Bad Gateway\n") and "127.0.0.1" not in output, output
    assert a.status()["tls"]["web"]["routes"]["app"]["http"]["requests"]["5xx"] == 1
    assert 'adit_tls_http_requests_total{listener="web",route="app",status="5xx"} 1' in a.http("GET", "/metrics")[1]
    nginx(a, 8084, "called", "http2", "add_trailer grpc-status 0;")
    route["backend"], route["http"] = ["127.0.0.1:8084"], {"backend_http2": True}
    a.reload()
    # curl shows no trailers.
    output = a.host.run("nghttp", "-v", "-H", f":authority: {WWW}", "-H", "te: trailers", "-H", "content-type: application/grpc",
                        "https://127.0.0.1:443/")
    assert ":status: 200" in output and "called" in output and "grpc-status: 0" in output, output


def peak(a):
    """The most memory that aditd has had, in KiB."""
    with open(f"/proc/{a.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
