"""Where HTTP is read: TLS to backends too, and what backends are told of clients by their certificates."""

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cases.tls_http import seen
from cases.tls_http_log import Log
from lab.case import case
from lab.http import gateway, nginx
from lab.tls import WWW, certificate, curl
from lab.tls_authority import Authority, base, key_pem, named, new_key, pem, public_file, sign


def person(a, authority, tag, common, *names):
    """A client's certificate with these names besides; how curl shows it."""
    key = new_key()
    builder = base(named(common), authority.name, key.public_key(), (-1, 9))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    chain = public_file(a, f"{tag}.pem", pem(sign(builder, authority)))
    return "--cert", chain, "--key", public_file(a, f"{tag}-key.pem", key_pem(key))


#   curl ---- aditd ==== nginx, which asks for a certificate: HTTP/1.1, then HTTP/2
@case()
def backend_tls(net):
    """Requests go on over TLS to a backend that is verified; one that is not who it should be is 502, and it is said why."""
    a, web, route = gateway(net)
    mine, authority, other = certificate(a, "mine", "gateway.internal"), Authority("ca"), Authority("other")
    chain, key = authority.issue(["app.internal"])
    files = public_file(a, "app.pem", pem(chain)), a.secret("app-key.pem", key_pem(key))
    secured = (f"ssl http2; ssl_certificate {files[0]}; ssl_certificate_key {files[1]}; ssl_verify_client on; "
               f"ssl_client_certificate {mine['chain_file']}")
    told = "$server_protocol $ssl_client_s_dn $ssl_server_name $ssl_session_reused $host $http_x_forwarded_for"
    nginx(a, 8443, told, secured)
    log = Log(a, web)
    trusted, wrong = (public_file(a, f"ca-{number}.pem", pem(one.certificate)) for number, one in enumerate((authority, other)))
    tls = {"ca_file": trusted, "name": "app.internal", **mine}
    route |= {"backend": ["127.0.0.1:8443"], "backend_tls": tls}
    count = 0
    for http2, protocol in ((False, "HTTP/1.1"), (True, "HTTP/2.0")):
        route["http"] = {"backend_http2": http2}
        a.reload()
        for version in "--http1.1", "--http2":
            code, output = curl(a, WWW, version)
            assert code == 0 and output.split() == [protocol, "CN=gateway.internal", "app.internal", output.split()[3], WWW,
                                                    "127.0.0.1"], output
            count += 1
        assert log.lines(count)[-1]["end"] == "done"
    backend = lambda: a.status()["tls"]["web"]["routes"]["app"]["backends"][0]
    for change, why in (({"ca_file": wrong}, "UnknownIssuer"), ({"name": "app.example"}, "not valid for name")):
        route["backend_tls"] = {**tls, **change}
        for http2 in False, True:
            route["http"] = {"backend_http2": http2}
            a.reload()
            code, output = curl(a, WWW, "-i")
            assert output.startswith("HTTP/2 502") and "8443" not in output and why not in output, output
            count += 1
            line = log.lines(count)[-1]
            assert (line["status"], line["end"], line["backend"]) == (502, "backend_refused", "127.0.0.1:8443"), line
            assert why in line["error"] and why in backend()["error"] and backend()["failing"], (line, backend())
            assert why in a.ctl("status")[1]
    # Who does not show a certificate is refused by the backend.
    route["backend_tls"], route["http"] = {"ca_file": trusted, "name": "app.internal"}, {}
    a.reload()
    assert " 400" in curl(a, WWW, "-i")[1].splitlines()[0], "nginx answers 400 to who shows none"
    # A backend that speaks no HTTP/2 does not get it.
    nginx(a, 8444, told, secured.replace("ssl http2", "ssl"))
    route |= {"backend": ["127.0.0.1:8444"], "backend_tls": tls, "http": {"backend_http2": True}}
    a.reload()
    assert curl(a, WWW, "-i")[1].startswith("HTTP/2 502"), "a backend of HTTP/1.1 that was to speak HTTP/2"
    line = log.lines(count + 2)[-1]
    assert line["end"] in ("backend", "backend_refused") and line["error"], line


#   curl with certificates of several kinds ---- aditd ---- a backend that tells what it got
@case()
def identities(net):
    """Backends are told who a client is by its certificate, and by nothing that the client says itself."""
    a, web, _ = gateway(net, client_identity_header="X-Client-Identity")
    authority, stranger = Authority("people"), Authority("strangers")
    ca = public_file(a, "people.pem", pem(authority.certificate))
    web["client_certificates"] = {"ca_file": ca, "mode": "optional"}
    log = Log(a, web)
    spiffe, uri, host = (x509.UniformResourceIdentifier("spiffe://example.org/ns/a/sa/b"),
                         x509.UniformResourceIdentifier("https://example.org/a"), x509.DNSName("a.example.org"))
    forged = ("-H", "X-Client-Identity: spiffe://example.org/root", "-H", "X_Client_Identity: spiffe://example.org/root", "-H",
              "x-client_identity: spiffe://example.org/root")
    count = 0
    for tag, common, names, told, logged in (
            ("spiffe", "a", (host, spiffe), "spiffe://example.org/ns/a/sa/b", "spiffe://example.org/ns/a/sa/b"),
            ("host", "a", (uri, host), "dns:a.example.org", "a.example.org"),
            # Two URIs are no SPIFFE ID.
            ("two", "a", (spiffe, uri), "subject:CN=a", "CN=a"),
            ("bare", "Zoë 100%", (), "subject:CN=Zo%C3%AB 100%25", "CN=Zoë 100%")):
        shown = person(a, authority, tag, common, *names)
        for version in "--http1.1", "--http2":
            code, output = curl(a, WWW, version, *shown, *forged)
            found = seen(output)
            assert code == 0 and found["x-client-identity"] == told and "root" not in output, (tag, output)
            count += 1
            line = log.lines(count)[-1]
            assert line["identity"] == logged and len(line["certificate"]) == 64 and not line["resumed"], line
    for version in "--http1.1", "--http2":
        code, output = curl(a, WWW, version, *forged)
        assert code == 0 and "identity" not in output.lower(), output
        assert log.lines(count + 1)[-1]["identity"] is None
        count += 1
    code, output = curl(a, WWW, *person(a, stranger, "stranger", "a", spiffe))
    assert code and "spiffe" not in output, output
    assert log.lines(count + 1)[-1]["end"] == "handshake"
