//! What is content and what is framing, however it comes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// All content of what comes in these pieces, the trailers, and how many bytes belong to it; `None`: it is not whole.
type Read = Result<Option<(Vec<u8>, HeaderMap, usize)>, String>;

fn read<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut content = Content::new(framing);
    let (mut data, mut trailers, mut total) = (Vec::new(), HeaderMap::new(), 0);
    for piece in pieces {
        let mut rest = piece;
        loop {
            let was_over = content.is_over();
            let (part, used) = content.next(rest).map_err(|mistake| mistake.to_string())?;
            assert!(!was_over || (part == Part::Over && used == 0));
            total += used;
            match part {
                Part::Data(range) => {
                    assert!(!range.is_empty() && range.end == used);
                    data.extend_from_slice(&rest[range]);
                }
                Part::Trailers(map) => {
                    assert!(content.is_over());
                    trailers = map;
                }
                Part::Over => return Ok(Some((data, trailers, total))),
                Part::More => {
                    assert_eq!(used, rest.len());
                    break;
                }
            }
            rest = &rest[used..];
        }
    }
    Ok(content.may_end().then_some((data, trailers, total)))
}

/// The same in one piece: content and trailers, as text, and what follows.
fn whole(framing: Framing, text: &str) -> Result<Option<(String, String, usize)>, String> {
    let read = read(framing, [text.as_bytes()])?;
    Ok(read.map(|(data, trailers, total)| {
        let trailers = trailers.iter().map(|(name, value)| format!("{name}={};", value.to_str().unwrap()));
        (String::from_utf8(data).unwrap(), trailers.collect(), text.len() - total)
    }))
}

#[test]
fn content_of_a_length_ends_there_and_without_one_with_the_connection() {
    let some = |data: &str, rest| Ok(Some((data.to_owned(), String::new(), rest)));
    assert_eq!(whole(Framing::Length(0), "more"), some("", 4));
    assert_eq!(whole(Framing::Length(4), "moremore"), some("more", 4));
    assert_eq!(whole(Framing::Length(5), "more"), Ok(None));
    assert_eq!(whole(Framing::Length(u64::MAX), "more"), Ok(None));
    assert_eq!(whole(Framing::End, "more"), some("more", 0));
    assert_eq!(whole(Framing::End, ""), some("", 0));
}

#[test]
fn chunks_are_read_in_one_way_or_not_at_all() {
    let chunked = |text: &str| whole(Framing::Chunked, text);
    for (text, data, trailers, rest) in [
        ("0\r\n\r\n", "", "", 0),
        ("2\r\nok\r\n0\r\n\r\nmore", "ok", "", 4),
        ("2\r\nok\r\n00a;x=\"y\"\r\n0123456789\r\n000 \t\r\n\r\n", "ok0123456789", "", 0),
        ("1 ;x\r\na\r\n0;last\r\n\r\n", "a", "", 0),
        ("0\r\nX-Sum: 2\r\nx-b:\r\n\r\nmore", "", "x-sum=2;x-b=;", 4),
        ("0000000000000000000000002\r\nok\r\n0\r\n\r\n", "ok", "", 0),
    ] {
        assert_eq!(chunked(text), Ok(Some((data.to_owned(), trailers.to_owned(), rest))), "{text:?}");
    }
    for text in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\na\r\n",
        "1\na\r\n",
        "1\r\r\n",
        "1 1\r\n",
        ";x\r\n",
        "1;x\na\r\n0\r\n\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r0\r\n\r\n",
        "10000000000000000\r\n",
        "0\r\nX-Sum 2\r\n\r\n",
        "0\r\na: b\n\nc: d\r\n\r\n",
        "0\r\n\n\r\n\r\n",
    ] {
        assert!(chunked(text).is_err(), "{text:?}: {:?}", chunked(text));
    }
    for text in
        ["", "f", "2\r\n", "2\r\no", "2\r\nok", "2\r\nok\r\n0\r\n", "ffffffffffffffff\r\na", "0\r\na: b\r\n"]
    {
        assert_eq!(chunked(text), Ok(None), "{text:?}");
    }
}

#[test]
fn extensions_and_trailers_of_chunks_are_bounded() {
    let chunked = |text: String| whole(Framing::Chunked, &text).map(|read| read.is_some());
    let extended = |bytes: usize| chunked(format!("0;{}\r\n\r\n", "x".repeat(bytes)));
    assert_eq!(extended(EXTENSIONS), Ok(true));
    assert!(extended(EXTENSIONS + 1).is_err());
    // All of one answer count together.
    let half = "x".repeat(EXTENSIONS / 2);
    assert!(chunked(format!("1;{half}\r\na\r\n1;{half}\r\nb\r\n0;x\r\n\r\n")).is_err());
    let trailing = |bytes: usize| chunked(format!("0\r\nx: {}\r\n\r\n", "v".repeat(bytes - 7)));
    assert_eq!(trailing(TRAILERS), Ok(true));
    assert!(trailing(TRAILERS + 1).is_err());
    let fields = |count: usize| chunked(format!("0\r\n{}\r\n", "x: y\r\n".repeat(count)));
    assert_eq!(fields(FIELDS), Ok(true));
    assert!(fields(FIELDS + 1).is_err());
}

/// Bytes in chunks of these lengths.
fn chunks(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    [&bytes[..], b"0\r\n\r\n"].concat()
}

proptest! {
    #[test]
    fn what_is_content_does_not_depend_on_how_it_comes(
        pieces in vec(vec(any::<u8>(), 1..40), 0..6),
        damage in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
        size in 1..50_usize,
        length in 0..300_u64,
    ) {
        let mut bytes = chunks(&pieces);
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        } else {
            let (data, _, total) = read(Framing::Chunked, [&bytes[..]]).unwrap().unwrap();
            prop_assert_eq!((data, total), (pieces.concat(), bytes.len()));
        }
        for framing in [Framing::Chunked, Framing::Length(length), Framing::End] {
            prop_assert_eq!(read(framing, bytes.chunks(size)), read(framing, [&bytes[..]]), "{:?}", framing);
        }
    }
}
