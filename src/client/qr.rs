//! `adit qr`

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

/// A text as a QR code for a terminal, dark on light whatever the terminal's colours are.
///
/// # Errors
/// In words: a QR code holds 2,953 bytes at most.
pub(super) fn code(text: &str) -> Result<Zeroizing<String>, String> {
    let code = QrCode::with_error_correction_level(text, qrcode::EcLevel::L);
    let code = code.map_err(|error| format!("{} bytes are too many for a QR code: {error}", text.len()))?;
    // The usual terminal is light on dark, and what reads codes wants the opposite.
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(Zeroizing::new(picture + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_with_a_light_border() {
        let picture = code("x").unwrap();
        let lines: Vec<_> = picture.lines().collect();
        // Version 1 is 21 modules wide, with 4 of border on each side; a line of text has two rows.
        assert_eq!((lines.len(), lines[0].chars().count()), (15, 29));
        assert!(lines[0].chars().all(|c| c == '\u{2588}'), "{}", *picture);
    }

    #[test]
    fn what_is_too_long_is_told() {
        assert!(code(&"x".repeat(3_000)).unwrap_err().contains("3000 bytes are too many"));
    }
}
