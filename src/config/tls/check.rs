//! `check`

use std::time::Duration;

use super::super::table::Value;
use super::duration::{DAY, duration};
use crate::tls::health::Check;

/// The shortest time from check to check.
const LEAST: Duration = Duration::from_millis(100);
/// What `http` may be.
const PATH: &str = "a path as \"/health\", of visible ASCII characters";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("interval", "did you mean every?"),
    ("path", "did you mean http?"),
    ("uri", "did you mean http?"),
    ("unhealthy_threshold", "did you mean fall?"),
    ("healthy_threshold", "did you mean rise?"),
];

/// `check`; `None` if any of it is wrong. With `pass_through` backends speak TLS, with a certificate of which nothing is known.
pub(super) fn check(value: &Value<'_>, pass_through: bool) -> Option<Check> {
    let mut table = value.clone().entries()?;
    let mut time = |key: &'static str, least: Duration, most: Duration, default: Duration| {
        table.value(key).map_or(Some(default), |value| duration(&value, least, most))
    };
    let every = time("every", LEAST, DAY, Duration::from_secs(2));
    let most = every.unwrap_or(DAY);
    let timeout = time("timeout", Duration::from_millis(10), most, most.min(Duration::from_secs(1)));
    let mut count = |key: &'static str, default: u32| {
        table.value(key).map_or(Some(default), |value| value.integer(1..=100))
    };
    let (rise, fall) = (count("rise", 2), count("fall", 3));
    let path = table.value("http");
    let http = path.as_ref().map(|value| {
        let sound = |text: &&str| {
            text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        value.parsed(PATH, |text| Some(text).filter(sound).map(str::to_owned))
    });
    if let Some(value) = path.filter(|_| pass_through) {
        value.refused("http beside pass_through", "no http: a connection is all that can be checked there");
    }
    table.end(HINTS);
    let http = match http {
        Some(http) => Some(http?),
        None => None,
    };
    Some(Check { every: every?, timeout: timeout?, rise: rise?, fall: fall?, http })
}
