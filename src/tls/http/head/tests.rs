//! What is written of requests, and which answers are one.

use super::*;

use hyper::header::{CONTENT_TYPE, TE};

/// What an answer to `GET` says of its end, and whether another request may follow.
fn judged(head: &str) -> Result<(Framing, bool), String> {
    judged_of(head, &Method::GET)
}

fn judged_of(head: &str, asked: &Method) -> Result<(Framing, bool), String> {
    let text = format!("{head}\r\n\r\n");
    match read(text.as_bytes(), asked) {
        Ok(Some((head, length))) => {
            assert_eq!(length, text.len());
            Ok((head.framing, head.lasts))
        }
        Ok(None) => Err("not whole".to_owned()),
        Err(mistake) => Err(mistake.to_string()),
    }
}

const CODING: &str = "an answer in a transfer coding that was not asked for";
const LENGTH: &str = "an answer whose length is none";

#[test]
fn where_an_answer_ends_is_said_in_one_way_or_it_is_none() {
    use Framing::{Chunked, End, Length};
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5", Ok((Length(5), true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Ok((Length(5), true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5", Ok((Length(5), true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6", Err(LENGTH)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", Err(LENGTH)),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5", Err(LENGTH)),
        ("HTTP/1.1 200 OK\r\nContent-Length: ", Err(LENGTH)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616", Err(LENGTH)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615", Ok((Length(u64::MAX), true))),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", Ok((Chunked, true))),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", Err(CODING)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(CODING)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity", Err(CODING)),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", Err(CODING)),
        // Chunks count, but whoever is behind the backend may have meant the length.
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", Ok((Chunked, false))),
        ("HTTP/1.1 200 OK", Ok((End, false))),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5", Ok((Length(0), true))),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", Ok((Length(0), true))),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: gzip", Ok((Length(0), true))),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket", Ok((Length(0), false))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close", Ok((Length(0), false))),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nConnection: keep-alive",
            Ok((Length(0), false)),
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0", Ok((Length(0), false))),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive", Ok((Length(0), true))),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close", Ok((Length(0), false))),
    ] {
        assert_eq!(judged(head), expected.map_err(str::to_owned), "{head}");
    }
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 5", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"] {
        assert_eq!(judged_of(head, &Method::HEAD), Ok((Length(0), true)), "{head}");
    }
}

#[test]
fn what_is_no_head_of_an_answer_is_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nA b: c",
        "HTTP/1.1 200 OK\r\nA : c",
        "HTTP/1.1 200 OK\r\n: c",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded",
        "HTTP/1.1 200 OK\r\nA: b\0c",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 99 OK",
        "HTTP/1.1 099 OK",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "SSH-2.0-OpenSSH_9.2",
        "GET / HTTP/1.1",
    ] {
        assert!(judged(head).is_err_and(|error| error != "not whole"), "{head}: {:?}", judged(head));
    }
}

#[test]
fn a_head_is_whole_at_its_end_and_interim_ones_are_passed_over() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                HTTP/1.1 404 Nowhere\r\nContent-Length: 2\r\nX-Empty:\r\nX-A: 1\r\nX-A: \u{e9}\r\n\r\n";
    for end in 0..text.len() {
        assert!(matches!(read(&text.as_bytes()[..end], &Method::GET), Ok(None)), "{end}");
    }
    let more = format!("{text}ok and more");
    let (head, length) = read(more.as_bytes(), &Method::GET).unwrap().unwrap();
    assert_eq!((head.status.as_u16(), head.framing, length), (404, Framing::Length(2), text.len()));
    let said: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: [(_, &[u8]); 4] =
        [("content-length", b"2"), ("x-empty", b""), ("x-a", b"1"), ("x-a", "\u{e9}".as_bytes())];
    assert_eq!(said, expected);
}

#[test]
fn a_head_may_be_long_and_no_longer() {
    let with = |count: usize, length: usize| {
        let fields: String =
            (0..count).map(|number| format!("x-{number}: {}\r\n", "v".repeat(length))).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    };
    let error = |text: &str| read(text.as_bytes(), &Method::GET).unwrap_err().to_string();
    let most = with(FIELDS, 9);
    assert_eq!(read(most.as_bytes(), &Method::GET).unwrap().unwrap().0.headers.len(), FIELDS);
    assert_eq!(error(&with(FIELDS + 1, 9)), "an answer that is no HTTP: too many headers");
    let long = "an answer whose head has more than 65536 bytes";
    let exact = with(1, MOST - with(1, 0).len());
    assert!(read(exact.as_bytes(), &Method::GET).unwrap().is_some());
    assert_eq!(error(&with(1, MOST - with(1, 0).len() + 1)), long);
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "v".repeat(MOST));
    assert!(read(&endless.as_bytes()[..MOST - 1], &Method::GET).unwrap().is_none());
    assert_eq!(error(&endless[..MOST]), long);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(error(&interim.repeat(MOST / interim.len() + 1)), long);
}

/// What is written of a request.
fn written(request: request::Builder, framing: Option<Framing>) -> String {
    let mut into = b"ahead\n".to_vec();
    write(&request.body(()).unwrap(), framing, &mut into);
    String::from_utf8(into).unwrap().strip_prefix("ahead\n").unwrap().to_owned()
}

#[test]
fn a_request_says_once_how_long_it_is_whatever_stood_in_its_headers() {
    let request = || {
        let request = request::Request::builder().method("POST").uri("https://a.example?q");
        request.header(CONTENT_LENGTH, "3").header(TRANSFER_ENCODING, "chunked").header(CONTENT_TYPE, "x/y")
    };
    for (framing, said) in [
        (None, ""),
        (Some(Framing::Length(0)), "content-length: 0\r\n"),
        (Some(Framing::Length(7)), "content-length: 7\r\n"),
        (Some(Framing::Chunked), "transfer-encoding: chunked\r\n"),
    ] {
        let expected = format!("POST /?q HTTP/1.1\r\ncontent-type: x/y\r\n{said}\r\n");
        assert_eq!(written(request(), framing), expected);
    }
    let all = request::Request::builder().method("OPTIONS").uri("*").header(TE, "a").header(TE, "b");
    assert_eq!(written(all, None), "OPTIONS * HTTP/1.1\r\nte: a\r\nte: b\r\n\r\n");
}

#[test]
fn of_trailers_those_that_were_announced_are_written() {
    let values = [("x-a", "1"), ("x-b", "2"), ("x-c", "3"), ("x-c", "4")];
    let trailers: HeaderMap = HeaderMap::from_iter(
        values.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    for (announced, expected) in [
        (&[][..], "0\r\n\r\n"),
        (&["X-A , x-c"], "0\r\nx-a: 1\r\nx-c: 3\r\nx-c: 4\r\n\r\n"),
        (&["x-b", "x-d"], "0\r\nx-b: 2\r\n\r\n"),
    ] {
        let announced: HeaderMap = announced.iter().fold(HeaderMap::new(), |mut all, names| {
            all.append(TRAILER, HeaderValue::from_static(names));
            all
        });
        let mut into = Vec::new();
        write_trailers(&trailers, &announced, &mut into);
        assert_eq!(String::from_utf8(into).unwrap(), expected);
    }
}
