//! Numbers in words, as `wg show` has them.

use super::paint::Paint;

/// Units of time above the second, in seconds.
const SPANS: [(u64, &str); 4] = [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute")];
/// Units of size, each 1,024 times the one before.
const SIZES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// So many bytes: `512 B`, `1.21 KiB`.
pub(super) fn bytes(bytes: u64, paint: Paint) -> String {
    size(bytes, "", paint)
}

/// So many bytes a second. What is no number counts as none.
pub(super) fn rate(bytes: f64, paint: Paint) -> String {
    size(bytes.round() as u64, "/s", paint)
}

fn size(bytes: u64, per: &str, paint: Paint) -> String {
    let step = (bytes.max(1).ilog2() as usize / 10).min(SIZES.len() - 1);
    let unit = paint.cyan(&format!("{}{per}", SIZES[step]));
    if step == 0 {
        return format!("{bytes} {unit}");
    }
    format!("{:.2} {unit}", bytes as f64 / f64::from(1_u32 << 10).powi(step as i32))
}

/// A span of time: `1 hour, 2 minutes, 3 seconds`. Units of which there is none are left out.
pub(super) fn span(seconds: u64, paint: Paint) -> String {
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, name) in SPANS.into_iter().chain([(1, "second")]) {
        let count = left / length;
        left %= length;
        if count > 0 || (length == 1 && parts.is_empty()) {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {}", paint.cyan(&format!("{name}{plural}"))));
        }
    }
    parts.join(", ")
}

/// How long ago something was.
pub(super) fn ago(seconds: f64, paint: Paint) -> String {
    if seconds < 0.0 {
        let words = paint.red("System clock wound backward; connection problems may ensue.");
        return format!("({words})");
    }
    match seconds as u64 {
        0 => "Now".into(),
        whole => format!("{} ago", span(whole, paint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What wireguard-tools 1.0.20210914 prints for these numbers.
    #[test]
    fn sizes_read_as_those_of_wg() {
        let expected = [
            (0, "0 B"),
            (1, "1 B"),
            (1_023, "1023 B"),
            (1_024, "1.00 KiB"),
            (1_289_748, "1.23 MiB"),
            (1_048_575, "1024.00 KiB"),
            (1_048_576, "1.00 MiB"),
            (4_831_838_208, "4.50 GiB"),
            (1_099_511_627_776, "1.00 TiB"),
            (1_152_921_504_606_846_976, "1048576.00 TiB"),
        ];
        for (number, text) in expected {
            assert_eq!(bytes(number, Paint::PLAIN), text);
        }
        assert_eq!(bytes(2_048, Paint::COLOURED), "2.00 \x1b[36mKiB\x1b[0m");
        assert_eq!(rate(1_258_291.2, Paint::PLAIN), "1.20 MiB/s");
        assert_eq!(rate(f64::NAN, Paint::PLAIN), "0 B/s");
    }

    #[test]
    fn spans_and_ages_read_as_those_of_wg() {
        assert_eq!(ago(63.9, Paint::PLAIN), "1 minute, 3 seconds ago");
        assert_eq!(ago(0.4, Paint::PLAIN), "Now");
        assert_eq!(ago(1.0, Paint::PLAIN), "1 second ago");
        assert_eq!(ago(3_600.0, Paint::PLAIN), "1 hour ago");
        let long = 31_536_000.0 * 2.0 + 86_400.0 + 7_200.0 + 60.0 + 59.0;
        assert_eq!(ago(long, Paint::PLAIN), "2 years, 1 day, 2 hours, 1 minute, 59 seconds ago");
        let wound = "(System clock wound backward; connection problems may ensue.)";
        assert_eq!(ago(-1.0, Paint::PLAIN), wound);
        assert_eq!(span(25, Paint::COLOURED), "25 \x1b[36mseconds\x1b[0m");
        assert_eq!(span(0, Paint::PLAIN), "0 seconds");
    }
}
