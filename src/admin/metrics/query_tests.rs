//! The queries of `configs/` against what is exposed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::render_text;
use super::strict::Exposed;
use crate::datapath::Reason;
use crate::status::sample;

/// What Prometheus puts to each series that it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];
const OPERATORS: [&str; 5] = ["and", "bool", "offset", "or", "unless"];
/// Their labels follow in brackets.
const GROUPINGS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// What a query names.
#[derive(Debug, Default)]
struct Names {
    metrics: BTreeSet<String>,
    /// Of a metric, or of any if there is none.
    labels: Vec<(Option<String>, String)>,
    /// What is asked for of a label: `reason=~"auth|replay"`.
    values: Vec<(String, String)>,
}

/// A word, a text in quotation marks, or a sign.
#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Text(&'a str),
    Sign(char),
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |char: char| char.is_ascii_alphanumeric() || "_:.$".contains(char);
        let length = if first == '"' {
            let end = rest[1..].find('"').expect("an end of the text") + 2;
            tokens.push(Token::Text(&rest[1..end - 1]));
            end
        } else if in_word(first) {
            let end = rest.find(|char| !in_word(char)).unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Reads a query of PromQL, as far as our own go.
fn names(query: &str) -> Names {
    let mut names = Names::default();
    let tokens = tokens(query);
    // The metric whose labels these are; the bracket that they are in.
    let (mut metric, mut inside) = (None, ' ');
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        match *token {
            Token::Sign(sign @ ('{' | '[')) => inside = sign,
            Token::Sign('}' | ']' | ')') => inside = ' ',
            Token::Sign('(')
                if at > 0 && matches!(tokens[at - 1], Token::Word(w) if GROUPINGS.contains(&w)) =>
            {
                inside = '(';
            }
            Token::Sign(_) => {}
            Token::Text(text) => {
                let label = names.labels.last().expect("a label ahead of a text").1.clone();
                names.values.push((label, text.to_owned()));
            }
            Token::Word(word) if inside == '{' => names.labels.push((metric.clone(), word.to_owned())),
            Token::Word(word) if inside == '(' => names.labels.push((None, word.to_owned())),
            Token::Word(_) if inside == '[' => {}
            Token::Word(word) if word.starts_with(|first: char| first.is_ascii_digit()) => {}
            Token::Word(word) if GROUPINGS.contains(&word) || OPERATORS.contains(&word) => {}
            // A function, or an aggregation with its grouping ahead of what is aggregated.
            Token::Word(_) if next == Some(&Token::Sign('(')) => {}
            Token::Word(_) if matches!(next, Some(Token::Word("by" | "without"))) => {}
            Token::Word(word) => {
                metric = Some(word.to_owned());
                names.metrics.insert(word.to_owned());
            }
        }
    }
    names
}

/// What Grafana's `label_values(metric, label)` and legends with `{{label}}` name.
fn check_labels(exposed: &Exposed, place: &str, metrics: &BTreeSet<String>, labels: &[String]) {
    for label in labels.iter().filter(|label| !SCRAPED.contains(&label.as_str())) {
        let has = |name: &String| {
            exposed.samples().any(|sample| sample.name == *name && sample.labels.contains_key(label))
        };
        assert!(metrics.iter().any(has), "{place}: none of {metrics:?} has the label {label}");
    }
}

fn check(exposed: &Exposed, place: &str, query: &str) -> BTreeSet<String> {
    let found = names(query);
    assert!(!found.metrics.is_empty(), "{place}: {query} names no metric");
    for name in &found.metrics {
        assert!(exposed.samples().any(|sample| sample.name == *name), "{place}: there is no {name}");
    }
    for (metric, label) in &found.labels {
        let metrics = metric.clone().map_or(found.metrics.clone(), |metric| [metric].into());
        check_labels(exposed, place, &metrics, std::slice::from_ref(label));
    }
    for (_, reasons) in found.values.iter().filter(|(label, _)| label == "reason") {
        for reason in reasons.split('|') {
            assert!(Reason::all().any(|known| known.as_str() == reason), "{place}: no reason {reason}");
        }
    }
    found.metrics
}

/// The labels in a legend or an annotation: `{{label}}`, `{{ $labels.label }}`.
fn templated(text: &str, before: &str) -> Vec<String> {
    let ends = |char: char| !char.is_ascii_alphanumeric() && char != '_';
    text.split(before).skip(1).map(|rest| rest[..rest.find(ends).unwrap_or(rest.len())].to_owned()).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)).unwrap()
}

fn exposed() -> Exposed {
    Exposed::read(&render_text(&Arc::new(sample::full())), false).unwrap()
}

#[test]
fn every_query_of_the_dashboard_asks_for_what_is_exposed() {
    let (dashboard, exposed) =
        (serde_json::from_str::<Value>(&read("grafana-dashboard.json")).unwrap(), exposed());
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{title}");
        for target in targets {
            let metrics = check(&exposed, title, target["expr"].as_str().unwrap());
            let legend = templated(target["legendFormat"].as_str().unwrap(), "{{");
            check_labels(&exposed, title, &metrics, &legend);
            asked.extend(metrics);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["definition"].as_str() {
            let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (query, label) = inner.rsplit_once(", ").unwrap();
            let metrics = check(&exposed, "variable", query);
            check_labels(&exposed, "variable", &metrics, &[label.to_owned()]);
        }
    }
    // Nothing that is exposed goes unseen.
    let shown = |family: &str| asked.iter().any(|name| name.starts_with(family));
    let unseen: Vec<_> = exposed.families.iter().filter(|family| !shown(&family.name)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn every_alert_asks_for_what_is_exposed() {
    let (rules, exposed) = (read("prometheus-rules.yaml"), exposed());
    let mut metrics = BTreeSet::new();
    let mut alerts = 0;
    for line in rules.lines().map(str::trim) {
        if let Some(query) = line.strip_prefix("expr: ") {
            metrics = check(&exposed, query, query);
            alerts += 1;
        }
        check_labels(&exposed, line, &metrics, &templated(line, "$labels."));
    }
    assert!(alerts > 3);
}

#[test]
fn the_scan_finds_metrics_labels_and_values() {
    let query = r#"sum by (a, le) (rate(m_total{b=~"x|y", c="$z"}[$__rate_interval])) * 8 > 0 and on (d) time() - (n > 1e9)"#;
    let found = names(query);
    assert_eq!(found.metrics, ["m_total", "n"].map(str::to_owned).into());
    let labels: Vec<_> = found.labels.iter().map(|(of, label)| (of.as_deref(), &**label)).collect();
    let m = Some("m_total");
    assert_eq!(labels, [(None, "a"), (None, "le"), (m, "b"), (m, "c"), (None, "d")]);
    assert_eq!(found.values[0], ("b".to_owned(), "x|y".to_owned()));
    assert_eq!(templated("{{a}} x {{b_1}}", "{{"), ["a", "b_1"]);
}

#[test]
fn a_query_for_what_is_not_exposed_is_seen() {
    let exposed = exposed();
    for query in [
        "adit_drop_total",
        "rate(adit_drops_total{why=\"auth\"}[5m])",
        "sum by (interface) (adit_tunnel_up)",
        "adit_drops_total{reason=~\"auth|boredom\"}",
        "1 + 1",
    ] {
        let seen = std::panic::catch_unwind(|| check(&exposed, "test", query));
        assert!(seen.is_err(), "{query}");
    }
}
