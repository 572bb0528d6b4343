//! A QR code in the terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// A text as a QR code, two rows of it in each line; nothing if it is too long for one. Light is printed, dark is left: as
/// terminals are dark, and phones read either.
pub(super) fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (light, dark) = (Dense1x2::Dark, Dense1x2::Light);
    Some(code.render::<Dense1x2>().dark_color(dark).light_color(light).build() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_as_wide_as_its_version_and_what_is_too_long_has_none() {
        let shown = code("https://vpn.example.org:8443/#adit-0").unwrap();
        let widths: Vec<_> = shown.lines().map(|line| line.chars().count()).collect();
        // Version 3 has 29 modules, with 4 of margin on each side.
        assert!(widths.iter().all(|width| *width == 37), "{widths:?}");
        assert_eq!(widths.len(), 19);
        assert_eq!(code(&"x".repeat(3_000)), None);
    }
}
