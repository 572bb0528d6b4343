//! `access_log`

use super::super::file::{Context, path};
use super::super::table::Value;
use crate::tls::access_log::{Format, Settings};

/// What `file` may be.
const FILE: &str = "a file that the daemon's user may write, in a folder that it may write to";
/// What `format` may be.
const FORMAT: &str = "\"json\" or \"text\"";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[("path", "did you mean file?"), ("json", "did you mean format = \"json\"?")];

/// `access_log`; `None` if any of it is wrong.
pub(super) fn access_log(value: Value<'_>, context: &Context<'_>) -> Option<Settings> {
    let mut table = value.entries()?;
    let file = table.value("file");
    if file.is_none() {
        table.missing("file", FILE);
    }
    let file = file.and_then(|value| path(&value, context.folder));
    let format = table.value("format").map_or(Some(Format::Json), |value| {
        value.parsed(FORMAT, |text| match text {
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            _ => None,
        })
    });
    table.end(HINTS);
    Some(Settings { file: file?, format: format? })
}
