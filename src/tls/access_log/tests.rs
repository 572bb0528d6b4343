//! What gets into the file, and what does not.

use std::time::{Duration, Instant};

use super::*;
use crate::test_folder::Folder;

fn entry(identity: &str) -> Box<Entry> {
    let connection = Connection {
        listener: "web".into(),
        client: Some("192.0.2.1:4660".parse().unwrap()),
        version: Some("TLSv1.3"),
        sni: Some("www.example.com".into()),
        identity: Some(identity.to_owned()),
        handshake: Some(Duration::from_micros(1_500)),
        ..Connection::default()
    };
    Box::new(Entry {
        ended: Duration::from_millis(1_795_311_042_750),
        connection: Arc::new(connection),
        received: Some(7),
        duration: Duration::from_millis(2_250),
        end: "done",
        ..Entry::default()
    })
}

/// The same, of a request.
fn request(path: &str) -> Box<Entry> {
    let request = Request {
        method: Some("GET".into()),
        host: Some("www.example.com".into()),
        path: Some(path.to_owned()),
        status: Some(200),
        ..Request::default()
    };
    Box::new(Entry { request: Some(request), ..*entry("x") })
}

fn settings(folder: &Folder, format: Format) -> Settings {
    Settings { file: folder.path().join("access.log"), format }
}

fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lines(log: &AccessLog) -> Vec<String> {
    let text = std::fs::read_to_string(&log.settings.file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_json_whatever_a_client_calls_itself() {
    let called = "CN=a\"b\\'\n\u{7f}\u{9b}31m\u{202e}\u{2028}\u{feff}\u{e0041}\u{e9}\u{1f600}";
    let folder = Folder::new();
    let log = AccessLog::start("web", &settings(&folder, Format::Json)).unwrap();
    log.add(entry(called));
    until(|| log.written() == 1);
    let lines = lines(&log);
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(value["time"], "2026-11-22T01:30:42.750Z");
    assert_eq!((&value["client"], &value["end"]), (&"192.0.2.1:4660".into(), &"done".into()));
    assert_eq!(value["identity"], called);
    let shown = r#""identity":"CN=a\"b\\'\n\u007f\u009b31m\u202e\u2028\ufeff\udb40\udc41é😀""#;
    assert!(lines[0].contains(shown), "{}", lines[0]);
    assert!(value["sent"].is_null() && value["ja4"].is_null());
    assert_eq!((&value["kind"], value.get("path")), (&"connection".into(), None));
}

#[test]
fn a_request_has_what_its_connection_has_and_its_own() {
    for (format, line) in [
        (
            Format::Json,
            "{\"time\":\"2026-11-22T01:30:42.750Z\",\"kind\":\"request\",\"listener\":\"web\",\"client\":\"192.0.2.1:4660\",\
             \"proxy\":null,\"local\":null,\"version\":\"TLSv1.3\",\"suite\":null,\"group\":null,\"sni\":\"www.example.com\",\
             \"alpn\":null,\"resumed\":null,\"identity\":\"x\",\"certificate\":null,\"ja4\":null,\"handshake\":0.001500,\
             \"route\":null,\"id\":null,\"method\":\"GET\",\"host\":\"www.example.com\",\"path\":\"/a\\u202e\\\"\",\
             \"protocol\":null,\"status\":200,\"first_byte\":null,\"received\":7,\"sent\":null,\"duration\":2.250000,\
             \"backend\":null,\"error\":null,\"end\":\"done\"}\n",
        ),
        (
            Format::Text,
            "2026-11-22T01:30:42.750Z kind=request listener=web client=192.0.2.1:4660 version=TLSv1.3 \
             sni=www.example.com identity=x handshake=0.001500 method=GET host=www.example.com \
             path=\"/a\\u{202e}\\\"\" status=200 received=7 duration=2.250000 end=done\n",
        ),
    ] {
        let mut written = Vec::new();
        request("/a\u{202e}\"").write(format, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), line);
    }
}

#[test]
fn a_line_of_text_cannot_be_forged() {
    let folder = Folder::new();
    let log = AccessLog::start("web", &settings(&folder, Format::Text)).unwrap();
    log.add(entry("CN=x\n2026 end=done"));
    until(|| log.written() == 1);
    assert_eq!(
        lines(&log),
        ["2026-11-22T01:30:42.750Z kind=connection listener=web client=192.0.2.1:4660 version=TLSv1.3 \
          sni=www.example.com identity=\"CN=x\\n2026 end=done\" handshake=0.001500 received=7 duration=2.250000 \
          end=done"]
    );
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew_when_that_is_said() {
    let folder = Folder::new();
    let log = AccessLog::start("web", &settings(&folder, Format::Text)).unwrap();
    log.add(entry("one"));
    until(|| log.written() == 1);
    let moved = folder.path().join("access.log.1");
    std::fs::rename(&log.settings.file, &moved).unwrap();
    log.add(entry("two"));
    until(|| log.written() == 2);
    assert!(lines(&log).is_empty(), "nobody said so");
    log.reopen();
    until(|| log.settings.file.exists());
    log.add(entry("three"));
    until(|| log.written() == 3);
    assert!(lines(&log)[0].contains("three"));
    assert_eq!(std::fs::read_to_string(moved).unwrap().lines().count(), 2);
}

#[test]
fn what_does_not_fit_is_lost_and_counted_and_nobody_waits() {
    let folder = Folder::new();
    // Nobody takes anything out of it.
    let (queue, entries) = sync_channel(2);
    let settings = settings(&folder, Format::Text);
    let log = AccessLog { settings, listener: "web".into(), queue, counts: Arc::default() };
    for _ in 0..5 {
        log.add(entry("x"));
    }
    assert_eq!(log.lost(), 3);
    log.reopen();
    drop(entries);
}

#[test]
fn what_cannot_be_written_is_counted_and_told_until_it_can_be() {
    let folder = Folder::new();
    let log = AccessLog::start("web", &settings(&folder, Format::Text)).unwrap();
    std::fs::remove_file(&log.settings.file).unwrap();
    std::fs::create_dir(&log.settings.file).unwrap();
    log.reopen();
    log.add(entry("x"));
    until(|| log.lost() == 1);
    assert!(log.error().is_some_and(|error| error.contains("access.log")));
    std::fs::remove_dir(&log.settings.file).unwrap();
    log.add(entry("y"));
    until(|| log.written() == 1);
    assert_eq!((log.error(), lines(&log).len()), (None, 1));
}

#[test]
fn a_link_or_a_pipe_is_no_file() {
    let folder = Folder::new();
    let settings = settings(&folder, Format::Text);
    std::os::unix::fs::symlink("/dev/null", &settings.file).unwrap();
    assert!(AccessLog::start("web", &settings).is_err());
    let device = Settings { file: "/dev/null".into(), ..settings };
    assert!(AccessLog::start("web", &device).unwrap_err().to_string().contains("no regular file"));
}
