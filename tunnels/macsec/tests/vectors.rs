//! Published and recorded frames; `vectors/README.md` says where each comes from.

#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

mod link;

use std::collections::HashMap;
use std::path::Path;

use adit_macsec::{An, Protection, Replay, Sci, SciEncoding, Settings, Ssci};
use link::{Material, WEST, opened, receiver, sealed, sender};

/// A section of a file.
struct Vector {
    name: String,
    fields: HashMap<String, String>,
}

impl Vector {
    fn hex(&self, field: &str) -> Vec<u8> {
        base16ct::lower::decode_vec(&self.fields[field]).unwrap()
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.hex(field).try_into().unwrap()
    }

    fn sci(&self) -> Sci {
        Sci::from(self.array::<8>("sci"))
    }

    fn an(&self) -> An {
        An::new(self.fields["an"].parse().unwrap()).unwrap()
    }

    fn pn(&self) -> u64 {
        u64::from_str_radix(self.fields["pn"].strip_prefix("0x").unwrap(), 16).unwrap()
    }

    /// The TCI and AN octet of the protected frame, behind the tags in clear.
    fn tci(&self) -> u8 {
        self.hex("protected")[14 + 4 * usize::from(self.clear_tags())]
    }

    fn clear_tags(&self) -> u8 {
        self.fields.get("clear_tags").map_or(0, |tags| tags.parse().unwrap())
    }

    fn material(&self) -> Material {
        let encrypted = self.tci() & 0x08 != 0;
        let protection = if encrypted {
            Protection::Confidentiality(Default::default())
        } else {
            Protection::IntegrityOnly
        };
        let suite = self.fields["cipher"].parse().unwrap();
        let xpn = self.fields.contains_key("salt");
        let salt = xpn.then(|| self.array("salt"));
        let ssci = xpn.then(|| Ssci(u32::from_be_bytes(self.array("ssci"))));
        Material { secret: self.hex("key"), salt, ssci, ..Material::new(suite, protection, 1) }
    }

    fn settings(&self, sci: Sci) -> Settings {
        Settings { clear_tags: self.clear_tags(), ..Settings::new(sci) }
    }

    fn check(&self) {
        let Self { name, .. } = self;
        let (clear, protected) = (self.hex("clear"), self.hex("protected"));

        let sci_encoding = match self.tci() & 0x70 {
            0x20 => SciEncoding::Included,
            0x40 => SciEncoding::EndStation,
            other => panic!("{name}: {other:#x}"),
        };
        let settings = Settings { sci_encoding, ..self.settings(self.sci()) };
        let east = sender(settings, self.an(), &self.material(), self.pn());
        assert_eq!(sealed(east.port(), &clear), protected, "sealing {name}");

        let west = receiver(self.settings(WEST), self.sci(), self.an(), &self.material(), self.pn());
        assert_eq!(opened(west.port(), &protected), Ok(clear), "opening {name}");
    }
}

fn read(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let mut vectors: Vec<Vector> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            vectors.push(Vector { name: name.to_owned(), fields: HashMap::new() });
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            vectors.last_mut().unwrap().fields.insert(key.to_owned(), value.to_owned());
        }
    }
    vectors
}

#[test]
fn seals_and_opens_annex_c() {
    let vectors = read("annex-c.txt");
    for clause in 1..=8 {
        for suite in 1..=4 {
            let name = format!("C.{clause}.{suite} ");
            assert_eq!(vectors.iter().filter(|vector| vector.name.starts_with(&name)).count(), 1, "{name}");
        }
    }
    assert_eq!(vectors.len(), 32);
    vectors.iter().for_each(Vector::check);
}

#[test]
fn seals_and_opens_beside_vlan_tags() {
    let vectors = read("vlan.txt");
    assert_eq!(vectors.len(), 3);
    vectors.iter().for_each(Vector::check);
}

#[test]
fn seals_what_the_kernel_sealed_and_opens_it() {
    let vectors = read("kernel.txt");
    let made = |by: &str| vectors.iter().filter(|vector| vector.fields["made_by"].starts_with(by)).count();
    assert_eq!((made("guest kernel"), made("reference, accepted")), (25, 24));
    vectors.iter().for_each(Vector::check);
}

/// The kernel's frames of each session in turn, under one association: its packet numbers pass the 32nd bit.
#[test]
fn opens_the_kernels_sessions_in_order() {
    let vectors = read("kernel.txt");
    let session = |vector: &Vector| vector.name.split(" #").next().unwrap().to_owned();
    let of_kernel: Vec<_> =
        vectors.iter().filter(|vector| vector.fields["made_by"] == "guest kernel").collect();
    let mut sessions = 0;
    for frames in of_kernel.chunk_by(|a, b| session(a) == session(b)) {
        let first = frames[0];
        for replay in [Replay::Window(0), Replay::Window(100), Replay::Bitmap] {
            let settings = Settings { replay, ..first.settings(WEST) };
            let west = receiver(settings, first.sci(), first.an(), &first.material(), first.pn());
            for vector in frames {
                let clear = opened(west.port(), &vector.hex("protected"));
                assert_eq!(clear, Ok(vector.hex("clear")), "{}", vector.name);
            }
        }
        sessions += 1;
    }
    assert_eq!(sessions, 8);
}
