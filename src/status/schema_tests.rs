//! The schema in `docs/` against the types.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Status, sample};

/// What is asked for if the schema is out of date.
const REFRESH: &str = "ADIT_REFRESH=1 cargo test schema";

fn schema() -> Value {
    schemars::schema_for!(Status).to_value()
}

#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("ADIT_REFRESH").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/status.schema.json is out of date; to make it anew: {REFRESH}");
}

#[test]
fn a_full_status_obeys_the_schema_and_comes_back_as_it_was() {
    let status = sample::full();
    let value = serde_json::to_value(&status).unwrap();
    let schema = schema();
    obeys(&value, &schema, &schema, "status").unwrap();
    assert_eq!(serde_json::from_value::<Status>(value).unwrap(), status);
}

#[test]
fn a_status_that_does_not_obey_the_schema_is_seen() {
    let (schema, good) = (schema(), serde_json::to_value(sample::full()).unwrap());
    for (place, with) in [
        ("/pid", Value::from("7")),
        ("/pid", Value::from(-7)),
        ("/wireguard/wg0/state", Value::from("sideways")),
        ("/wireguard/wg0/peers/0/path_mtu", Value::from("1420")),
        ("/wireguard/wg0/peers/0/path_mtu", Value::Null),
        ("/macsec/uplink/receive/0/associations/0/an", Value::from("0")),
        ("/wireguard/wg0/workers/0", Value::from(serde_json::Map::new())),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = with;
        assert!(obeys(&bad, &schema, &schema, "status").is_err(), "{place}");
    }
}

/// Whether a value is as the schema says, and has everything that the schema knows of: of what can be null nothing is.
fn obeys(value: &Value, schema: &Value, root: &Value, place: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{place}: {what}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).ok_or("no such reference")?;
        return obeys(value, target, root, place);
    }
    if let Some(any) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let fits = any.iter().any(|one| one["const"] == *value || obeys(value, one, root, place).is_ok());
        return if fits { Ok(()) } else { wrong("none of these") };
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return wrong("another constant");
    }
    // A type, or several of which one is null.
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("none");
    let fits = match kind {
        "object" => return value.as_object().map_or(Err(place.into()), |it| object(it, schema, root, place)),
        "array" => {
            let item = |item| obeys(item, &schema["items"], root, &format!("{place}[]"));
            return value.as_array().map_or(Err(place.into()), |items| items.iter().try_for_each(item));
        }
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() && schema["minimum"] == 0,
        "number" => value.is_number(),
        _ => false,
    };
    if fits { Ok(()) } else { wrong(kind) }
}

fn object(fields: &Map<String, Value>, schema: &Value, root: &Value, place: &str) -> Result<(), String> {
    if let Some(each) = schema.get("additionalProperties") {
        return fields
            .iter()
            .try_for_each(|(name, value)| obeys(value, each, root, &format!("{place}.{name}")));
    }
    let known = schema["properties"].as_object().ok_or_else(|| format!("{place}: no properties"))?;
    let missing = known.keys().find(|name| !fields.contains_key(*name));
    if let Some(name) = missing.or_else(|| fields.keys().find(|name| !known.contains_key(*name))) {
        return Err(format!("{place}.{name} is only in one of the two"));
    }
    fields.iter().try_for_each(|(name, value)| obeys(value, &known[name], root, &format!("{place}.{name}")))
}
