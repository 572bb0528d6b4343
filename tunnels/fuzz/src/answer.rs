//! What a backend of HTTP/1.1 answers.

use adit::tls::http::content::{Content, Part};
use adit::tls::http::head::{Framing, MOST, read};
use hyper::{HeaderMap, Method};

use crate::Input;

/// An answer to a method, and how it is cut. The head is whole at one place and nowhere before it, and never longer than it may
/// be; what is content does not depend on how it comes, and nothing behind its end is taken for it.
pub fn tls_answer(data: &[u8]) {
    let mut input = Input::new(data);
    let asked = input.one(&[Method::GET, Method::HEAD, Method::POST].each_ref()).clone();
    let size = 1 + input.below(64);
    let bytes = input.rest();
    let whole = read(bytes, &asked);
    let step = 1 + bytes.len() / 16;
    for end in (0..bytes.len()).step_by(step) {
        let part = read(&bytes[..end], &asked);
        match &whole {
            Ok(Some((_, length))) if end >= *length => assert_eq!(part, whole, "{end} bytes of it"),
            Ok(_) => assert_eq!(part, Ok(None), "{end} bytes of it"),
            // It may be seen to be none later.
            Err(mistake) => assert!(matches!(part, Ok(None)) || part == Err(*mistake), "{end}: {part:?}"),
        }
    }
    let Ok(found) = whole else { return };
    assert!(found.is_some() || bytes.len() < MOST);
    let Some((head, length)) = found else { return };
    assert!(length <= bytes.len().min(MOST));
    if asked == Method::HEAD {
        assert_eq!(head.framing, Framing::Length(0));
    }
    assert!(!head.lasts || head.framing != Framing::End);
    let rest = &bytes[length..];
    let at_once = taken(head.framing, [rest]);
    assert_eq!(taken(head.framing, rest.chunks(size)), at_once, "in pieces of {size}");
    let Some((content, _, used, over)) = at_once else { return };
    assert!(used <= rest.len() && content.len() <= used);
    match head.framing {
        Framing::Length(length) => {
            assert_eq!(content, rest[..used]);
            assert_eq!(over, used as u64 == length);
        }
        Framing::End => assert_eq!((content.len(), over), (rest.len(), false)),
        Framing::Chunked => {
            // What was content comes out again, and what follows stays.
            let text = format!("{:x}\r\n", content.len());
            let chunk =
                if content.is_empty() { Vec::new() } else { [text.as_bytes(), &content, b"\r\n"].concat() };
            let again = [&chunk[..], b"0\r\n\r\n", rest].concat();
            let expected = Some((content, HeaderMap::new(), again.len() - rest.len(), true));
            assert_eq!(taken(Framing::Chunked, [&again[..]]), expected);
        }
    }
}

/// Content, trailers, bytes that belong to them, and whether that was all; `None`: it is not framed as it should be.
fn taken<'a>(
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<(Vec<u8>, HeaderMap, usize, bool)> {
    let mut content = Content::new(framing);
    let (mut data, mut trailers, mut total) = (Vec::new(), HeaderMap::new(), 0);
    for mut rest in pieces {
        loop {
            let (part, used) = content.next(rest).ok()?;
            total += used;
            match part {
                Part::Data(range) => data.extend_from_slice(&rest[range]),
                Part::Trailers(found) => trailers = found,
                Part::Over => return Some((data, trailers, total, true)),
                Part::More => break assert_eq!(used, rest.len()),
            }
            rest = &rest[used..];
        }
    }
    Some((data, trailers, total, content.is_over()))
}
