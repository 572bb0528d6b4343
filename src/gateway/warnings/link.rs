//! What is wrong with an encrypted link, or weaker than it could be.

use adit_macsec::{Protection, ValidateFrames};

use super::UNANSWERED;
use crate::config::Macsec;
use crate::config::macsec::{Keys, Weakness};
use crate::status;
use crate::status::macsec::{KeyAgreement, Link, Udp};

/// Octets that a frame has around it in a datagram beside the SecTAG: its own header, 4 that say what it is, UDP, the ICV.
const DATAGRAM: u32 = 14 + 4 + 8 + 16;
/// Octets of a SecTAG with its EtherType, without and with an SCI.
const SECTAG: u32 = 8;
const SECTAG_SCI: u32 = 16;

/// Of a link. `unresolved`: why the name of the other end leads nowhere.
pub(in super::super) fn of(
    config: &Macsec,
    report: &status::Macsec,
    unresolved: Option<&str>,
) -> Vec<String> {
    let mut warnings = weaknesses(config);
    if let Some(link) = &report.link {
        warnings.extend(of_carrier(link));
    }
    if let Some(agreement) = &report.key_agreement {
        warnings.extend(of_agreement(agreement));
    }
    if let Some(udp) = &report.udp {
        warnings.extend(of_datagrams(udp, report, unresolved));
    }
    if let Keys::Static(_) = &config.keys {
        warnings.extend(of_static(config, report));
    }
    warnings
}

/// What takes an `allow_` key in the file is warned of, and a log of keys. An offset, tags in clear and a window show beside the cipher.
fn weaknesses(config: &Macsec) -> Vec<String> {
    let words = |weakness: &Weakness| match weakness {
        Weakness::StaticKeys => {
            Some("allow_static: whoever finds a static key reads all that was ever sent under it".to_owned())
        }
        Weakness::IntegrityOnly => Some("allow_integrity_only: everything can be read on the way".to_owned()),
        Weakness::Unvalidated(ValidateFrames::Disabled) => {
            Some("allow_unvalidated: nobody looks whether frames are authentic (disabled)".to_owned())
        }
        Weakness::Unvalidated(_) => {
            Some("allow_unvalidated: frames that are not authentic are delivered (check)".to_owned())
        }
        Weakness::KeyLog => {
            Some("key_log_file: keys are written down: whoever reads that file reads the link".to_owned())
        }
        Weakness::Offset(_) | Weakness::ClearTags(_) | Weakness::Window(_) => None,
    };
    config.weaknesses().iter().filter_map(words).collect()
}

fn of_carrier(link: &Link) -> Vec<String> {
    let mut warnings = Vec::new();
    if !link.up {
        warnings.push(format!("the link {} is down, or not there", link.name));
    }
    if !link.guarded {
        warnings.push(format!("no guard holds back what is in clear on {}", link.name));
    }
    warnings
}

fn of_agreement(agreement: &KeyAgreement) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(words) = &agreement.disagreement {
        warnings.push(format!("both ends differ: {words}"));
    } else if let Some(seconds) = agreement.trying_for.filter(|seconds| *seconds >= UNANSWERED) {
        warnings.push(format!(
            "no answer from the other end for {seconds:.0} s: is it reached, does it run, are the keys right, is the clock?"
        ));
    }
    warnings
}

fn of_datagrams(udp: &Udp, report: &status::Macsec, unresolved: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    if udp.listen_port == 0 {
        warnings.push("no UDP port is open: another program has it".to_owned());
    }
    if let Some(error) = unresolved {
        let name = udp.endpoint_name.as_deref().unwrap_or_default();
        warnings.push(format!("the endpoint {name} cannot be resolved: {error}"));
    }
    if let (Some(path), Some(endpoint)) = (udp.path_mtu, &udp.endpoint) {
        let ip = if endpoint.starts_with('[') { 40 } else { 20 };
        let tag = if report.sci_encoding == "included" { SECTAG_SCI } else { SECTAG };
        let overhead = ip + DATAGRAM + tag;
        if report.mtu + overhead > path {
            let fits = path.saturating_sub(overhead);
            warnings.push(format!(
                "frames of the full size are sent in fragments, since the path takes {path} bytes: mtu = {fits} fits"
            ));
        }
    }
    warnings
}

/// Nobody agrees on anything: what is heard and how many packet numbers are left is all there is to see.
fn of_static(config: &Macsec, report: &status::Macsec) -> Vec<String> {
    let mut warnings = Vec::new();
    for channel in report.receive.iter().filter(|channel| channel.associations.iter().all(|one| !one.in_use))
    {
        let name = channel.name.as_deref().unwrap_or(&channel.sci);
        warnings
            .push(format!("nothing authentic has come from {name} yet: has it our keys, and we its SCI?"));
    }
    let due = config.suite.rekey_at();
    if let Some(sending) = report.transmit.associations.iter().find(|one| one.in_use && one.next_pn >= due) {
        warnings.push(format!(
            "packet numbers come to their end: {} are used; give the link another key before it falls silent",
            sending.next_pn
        ));
    }
    if report.transmit.associations.is_empty() && config.protection != Protection::IntegrityOnly {
        warnings.push(
            "no key to send with: its packet numbers are used up, or cannot be written down".to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::status::macsec::{Association, Channel};
    use crate::status::sample;

    fn config(lines: &str) -> Macsec {
        let key = |path: &std::path::Path| {
            let first = path.to_string_lossy().bytes().fold(1, u8::wrapping_add);
            let text = if path.extension().is_some_and(|extension| extension == "sak") {
                format!("{first:02x}").repeat(32)
            } else {
                adit_noise::PrivateKey::from_bytes([first; 32]).to_base64().to_string()
            };
            Ok(Zeroizing::new(text.into_bytes()))
        };
        let text = format!("[macsec.a]\n{lines}");
        crate::config::parse("test.toml", &text, &key).unwrap().macsec.remove("a").unwrap()
    }

    fn noise(lines: &str) -> Macsec {
        let peer = adit_noise::PublicKey::from_bytes([9; 32]).to_base64();
        config(&format!("link = \"eth1\"\nprivate_key_file = \"/a\"\npeer_public_key = \"{peer}\"\n{lines}"))
    }

    fn fixed() -> Macsec {
        config(
            "link = \"eth1\"\nkeys = \"static\"\nallow_static = true\ncipher = \"gcm-aes-256\"\n\
             transmit.key_file = \"/t.sak\"\n[macsec.a.receive.b]\nsci = \"02:00:00:00:00:02/1\"\n\
             sa.0 = { key_file = \"/r.sak\" }",
        )
    }

    /// Of a link that is well.
    fn well() -> status::Macsec {
        let mut report = sample::full().macsec.remove("uplink").unwrap();
        let agreement = report.key_agreement.as_mut().unwrap();
        (agreement.trying_for, agreement.disagreement) = (Some(UNANSWERED - 0.1), None);
        report.transmit.associations[0].next_pn = 5;
        report
    }

    fn every() -> Vec<String> {
        let weak = noise(
            "integrity_only = true\nallow_integrity_only = true\nvalidate = \"check\"\nallow_unvalidated = true\n\
             key_log_file = \"/k\"",
        );
        let mut all = of(&weak, &well(), Some("no such name"));
        all.extend(of(&noise("validate = \"disabled\"\nallow_unvalidated = true"), &well(), None));
        let mut ill = well();
        (ill.link.as_mut().unwrap().up, ill.link.as_mut().unwrap().guarded) = (false, false);
        ill.key_agreement.as_mut().unwrap().trying_for = Some(UNANSWERED);
        let udp = ill.udp.as_mut().unwrap();
        (udp.listen_port, udp.path_mtu) = (0, Some(1_499));
        all.extend(of(&noise(""), &ill, None));
        ill.key_agreement.as_mut().unwrap().disagreement = Some("the peer has another cipher".into());
        all.extend(of(&noise(""), &ill, None));
        let mut silent = well();
        silent.receive = vec![Channel { sci: "02:00:00:00:00:02/1".into(), ..Channel::default() }];
        silent.transmit.associations = vec![];
        all.extend(of(&fixed(), &silent, None));
        silent.transmit.associations =
            vec![Association { in_use: true, next_pn: 0xc000_0000, ..Association::default() }];
        all.extend(of(&fixed(), &silent, None));
        all
    }

    #[test]
    fn nothing_is_said_of_a_link_that_is_well() {
        // 1,422 and 78 around it are 1,500.
        assert_eq!(of(&noise("clear_tags = 1\nreplay_window = 9"), &well(), None), [""; 0]);
        let said = of(&fixed(), &well(), None);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("allow_static"), "{said:?}");
    }

    #[test]
    fn the_manual_has_each_warning() {
        let manual = include_str!("../../../docs/operations.md");
        let mut starts: Vec<_> =
            every().iter().map(|said| said.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        starts.sort();
        starts.dedup();
        assert_eq!(starts.len(), 15, "{starts:?}");
        for start in starts {
            let known = manual.contains(&format!("\n| {start}"))
                || (start.starts_with("allow_unvalidated:") && manual.contains("\n| allow_unvalidated: "));
            assert!(known, "docs/operations.md lacks: {start}");
        }
    }

    #[test]
    fn an_mtu_that_does_not_fit_the_path_is_told_with_one_that_does() {
        let told = |endpoint: &str, path| {
            let mut report = well();
            let udp = report.udp.as_mut().unwrap();
            (udp.endpoint, udp.path_mtu) = (Some(endpoint.to_owned()), Some(path));
            of(&noise(""), &report, None).pop()
        };
        assert_eq!(told("192.0.2.1:1", 1_500), None);
        assert!(told("192.0.2.1:1", 1_499).unwrap().ends_with("takes 1499 bytes: mtu = 1421 fits"));
        assert!(told("[2001:db8::1]:1", 1_500).unwrap().ends_with("takes 1500 bytes: mtu = 1402 fits"));
    }
}
