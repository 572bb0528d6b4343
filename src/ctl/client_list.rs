//! What the status tells of clients.

use std::collections::BTreeMap;

use super::paint::escape;
use super::render::Text;
use crate::status::Clients;

/// Appends the clients of a tunnel.
pub(super) fn show(text: &mut Text, name: &str, clients: &Clients) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.interface("clients"), paint.green(&escape(name))));
    let listen: Vec<_> = clients.listen.iter().map(|address| escape(address)).collect();
    text.field("enrolment api", &listen.join(", "));
    text.field("leases", &format!("{} of {}", clients.leases, clients.capacity));
    let Clients { granted, refused, expired, ended, .. } = clients;
    if granted + refused + expired + ended > 0 {
        let counts = format!("{granted} granted, {refused} refused, {expired} expired, {ended} ended");
        text.field("since the start", &counts);
    }
    let each = |all: &BTreeMap<String, u64>| {
        let counts = all.iter().filter(|(_, count)| **count > 0);
        counts.map(|(word, count)| format!("{count} {}", escape(word))).collect::<Vec<_>>().join(", ")
    };
    for (key, all) in [("refused for", &clients.refusals), ("connections lost", &clients.lost)] {
        let counts = each(all);
        if !counts.is_empty() {
            text.field(key, &counts);
        }
    }
}
