//! A strict reader of what is exposed, for tests: it takes nothing that the formats do not allow.

use std::collections::{BTreeMap, BTreeSet};

/// What was exposed: families in their order.
#[derive(Debug)]
pub(crate) struct Exposed {
    pub(crate) families: Vec<Family>,
}

/// A family.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposed {
    /// Reads OpenMetrics (1.0) or the text format 0.0.4.
    pub(crate) fn read(text: &str, open: bool) -> Result<Self, String> {
        if !text.ends_with('\n') || text.contains('\r') {
            return Err("lines have to end with a newline each".to_owned());
        }
        let mut lines: Vec<_> = text.lines().collect();
        if open && lines.pop() != Some("# EOF") {
            return Err("the last line has to be # EOF".to_owned());
        }
        let mut exposed = Self { families: Vec::new() };
        let (mut names, mut series, mut help) = (BTreeSet::new(), BTreeSet::new(), None);
        for line in lines {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if words.is_empty() || words.contains('\\') {
                    return Err(wrong("what help"));
                }
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                let kinds = ["counter", "gauge", "histogram"];
                if help.take().as_deref() != Some(name) || !kinds.contains(&kind) || !is_name(name) {
                    return Err(wrong("TYPE has to follow HELP of the same name"));
                }
                if !names.insert(name.to_owned()) {
                    return Err(wrong("a family twice"));
                }
                let family = Family { name: name.to_owned(), kind: kind.to_owned(), samples: Vec::new() };
                exposed.families.push(family);
            } else {
                let sample = Sample::read(line).map_err(|what| wrong(&what))?;
                let family =
                    exposed.families.last_mut().ok_or_else(|| wrong("a sample ahead of its family"))?;
                if !family.suffixes(open).contains(&sample.name.strip_prefix(&*family.name).unwrap_or("?")) {
                    return Err(wrong("not of this family"));
                }
                if !series.insert((sample.name.clone(), sample.labels.clone())) {
                    return Err(wrong("a series twice"));
                }
                if family.kind != "gauge" && !(sample.value >= 0.0 && sample.value.is_finite()) {
                    return Err(wrong("a count that cannot be"));
                }
                family.samples.push(sample);
            }
        }
        exposed.families.iter().filter(|family| family.kind == "histogram").try_for_each(Family::check)?;
        Ok(exposed)
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// The value of the series with these labels and no others.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.samples()
            .find(|sample| sample.name == name && sample.labels == labels)
            .map(|sample| sample.value)
    }
}

impl Family {
    /// What the names of its samples have behind that of the family.
    fn suffixes(&self, open: bool) -> &'static [&'static str] {
        match &*self.kind {
            "counter" if open => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        }
    }

    /// Buckets grow up to an infinite one, which is the count.
    fn check(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let end = labels.remove("le").ok_or("a bucket without an end")?;
            let end = if end == "+Inf" { f64::INFINITY } else { end.parse().map_err(|_| "what end")? };
            buckets.entry(labels).or_default().push((end, sample.value));
        }
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_count")) {
            let of_it = buckets.get(&sample.labels).ok_or("a count without buckets")?;
            let grow = of_it.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
            if !grow || of_it.last() != Some(&(f64::INFINITY, sample.value)) {
                return Err(format!("{}: buckets {of_it:?}, count {}", self.name, sample.value));
            }
        }
        Ok(())
    }
}

impl Sample {
    fn read(line: &str) -> Result<Self, String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"").ok_or("no label")?;
                let (value, after) = quoted(after)?;
                if !is_name(label) || label.contains(':') || labels.insert(label.to_owned(), value).is_some()
                {
                    return Err(format!("label {label:?}"));
                }
                rest = after;
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
            }
        }
        let value = rest.strip_prefix(' ').ok_or("no space ahead of the value")?;
        let value = value.parse().map_err(|_| format!("value {value:?}"))?;
        if !is_name(name) {
            return Err(format!("name {name:?}"));
        }
        Ok(Self { name: name.to_owned(), labels, value })
    }
}

/// The value of a label, and what follows the quotation mark behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, char @ ('\\' | '"'))) => char,
                other => return Err(format!("escape {other:?}")),
            }),
            char => value.push(char),
        }
    }
    Err("no end of a label".to_owned())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == ':')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == ':')
}

#[test]
fn what_the_formats_do_not_allow_is_refused() {
    let good = "# HELP a_b Words\n# TYPE a_b counter\na_b_total{x=\"1\",y=\"\\\"\\\\\\n\"} 1\n# EOF\n";
    assert_eq!(Exposed::read(good, true).unwrap().samples().next().unwrap().labels["y"], "\"\\\n");
    for (what, with) in [
        ("# EOF\n", ""),
        ("# HELP a_b Words\n", ""),
        ("# TYPE a_b counter", "# TYPE a_b info"),
        ("_total", ""),
        ("x=\"1\",", "x=\"1\" "),
        ("y=", "x="),
        ("\\\\", "\\t"),
        (" 1\n", " one\n"),
        (" 1\n", " -1\n"),
        (" 1\n", " 1\na_b_total{x=\"1\",y=\"\\\"\\\\\\n\"} 2\n"),
    ] {
        let bad = good.replace(what, with);
        assert_ne!(good, bad);
        assert!(Exposed::read(&bad, true).is_err(), "{bad}");
    }
}
