//! Tests that change the network or give privileges up: each in a process, a user namespace and a network namespace of its
//! own, so that anybody can run them. Where that cannot be had they fail.

use std::process::Command;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use super::link::{self, Settings};
use super::netlink;

/// Set in the process in which a test runs.
const INSIDE: &str = "ADIT_TEST_ISOLATED";

/// Runs `test`, a closure in the body of a test, with all of root's power over a network of its own. `lo` is up.
pub(crate) fn isolated<T: FnOnce()>(test: T) {
    run(test, &["--map-root-user"], || {
        link::set(1, &Settings { up: Some(true), ..Settings::default() }).unwrap();
    });
}

/// Runs `test` in the same way as the user `nobody`, but with all of root's power.
pub(crate) fn isolated_as_nobody<T: FnOnce()>(test: T) {
    let nobody = crate::privilege::user("nobody").unwrap().expect("every system has the user nobody");
    let (user, group) = (format!("--map-user={}", nobody.uid), format!("--map-group={}", nobody.gid));
    run(test, &["--keep-caps", &user, &group], || ());
}

fn run<T: FnOnce()>(test: T, mapping: &[&str], prepare: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        prepare();
        return test();
    }
    // The name of a closure is that of the function it is in, behind that of the crate: which is how tests are named.
    let name = std::any::type_name::<T>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--net"])
        .args(mapping)
        .arg("--")
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1) of util-linux is needed");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && told.contains("test result: ok. 1 passed");
    assert!(passed, "in a namespace of its own, {name} failed:\n{told}{errors}");
}

/// Makes a link (one end of a veth, whose other end is up as well) and sets it up.
pub(crate) fn make_link(name: &str) -> u32 {
    let peer = format!("{name}-peer");
    let [mut message, end] = [name, &peer].map(|name| {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message
    });
    let veth = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end)));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), veth]));
    netlink::change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).unwrap();
    let up = Settings { up: Some(true), ..Settings::default() };
    for name in [name, &peer] {
        link::set(link::find(name).unwrap().index, &up).unwrap();
    }
    link::find(name).unwrap().index
}

/// Takes a link away.
pub(crate) fn remove_link(index: u32) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    netlink::change(RouteNetlinkMessage::DelLink(message), 0).unwrap();
}
