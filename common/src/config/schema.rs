//! The table of keys as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::keys;
use super::kind::{Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape};

/// A duration as the file writes it.
const DURATION: &str = "^[0-9]+ ?(ms|s|m|h)$";

/// The schema of the configuration file.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for section in keys::SECTIONS {
        let table = table(section);
        let value = match section.shape {
            Shape::Once | Shape::Inline => table,
            Shape::Named => json!({
                "type": "object",
                "description": section.doc,
                "propertyNames": { "pattern": Form::Name.pattern() },
                "additionalProperties": table,
            }),
        };
        properties.insert(section.name.to_owned(), value);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fmc-lb configuration",
        "description": "The configuration of both nodes of an fmc-lb pair, a TOML file",
        "type": "object",
        "properties": properties,
        "required": ["nodes", "pair"],
        "additionalProperties": false,
    })
}

fn table(section: &Section) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section.keys {
        properties.insert(key.name.to_owned(), property(key));
        if key.default == Default::Required {
            required.push(key.name);
        }
    }
    let mut table = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn property(key: &Key) -> Value {
    let mut value = kind(&key.kind);
    value["description"] = json!(description(key));
    if let Default::Toml(text) = key.default
        && let Some(default) = default_value(text)
    {
        value["default"] = default;
    }
    value
}

/// The default as JSON. The defaults in the table of keys are TOML that is JSON too.
fn default_value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// What the key does, its range and its default.
fn description(key: &Key) -> String {
    let range = match &key.kind {
        Kind::Duration(range) => format!(", {}", range.words()),
        Kind::Integer(range) => format!(", {}", range.words()),
        Kind::Lowering(range) => format!(", {}", range.lowering_words()),
        Kind::Bool
        | Kind::Text(_)
        | Kind::Choice(_)
        | Kind::List(_)
        | Kind::Table(_)
        | Kind::TableOr(..)
        | Kind::TableOrOff(_)
        | Kind::ByNode(_) => String::new(),
    };
    let default = match key.default {
        Default::Required => String::new(),
        Default::Unset(meaning) => format!(" (default: {meaning})"),
        Default::Toml("{}") => " (default: on)".to_owned(),
        Default::Toml(text) => format!(" (default: {text})"),
        Default::Inherited { section, key } => format!(" (default: [{section}] {key})"),
    };
    format!("{}{range}{default}", key.doc)
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer(range) => integer(range),
        Kind::Lowering(range) => {
            let [least, most] =
                [range.max, range.min].map(|taken| format!("-{taken}").parse::<i64>());
            json!({ "type": "integer", "minimum": least.ok(), "maximum": most.ok() })
        }
        Kind::Duration(range) => duration(range),
        Kind::Text(form) => text(*form),
        Kind::Choice(choice) => json!({ "type": "string", "enum": choice.values }),
        Kind::List(element) => json!({
            "type": "array",
            "items": self::kind(element),
            "minItems": 1,
        }),
        Kind::Table(section) => table(section),
        Kind::TableOr(section, key) => {
            let short = section.keys.iter().find(|candidate| candidate.name == *key);
            let short = short.map_or(Value::Null, |key| self::kind(&key.kind));
            json!({ "oneOf": [short, table(section)] })
        }
        Kind::TableOrOff(section) => json!({ "oneOf": [{ "const": "off" }, table(section)] }),
        Kind::ByNode(range) => json!({
            "type": "object",
            "additionalProperties": integer(range),
        }),
    }
}

fn integer(range: &IntegerRange) -> Value {
    let mut value = json!({ "type": "integer", "minimum": range.min, "maximum": range.max });
    if let Some((except, _)) = range.except {
        value["not"] = json!({ "const": except });
    }
    value
}

fn duration(range: &DurationRange) -> Value {
    let pattern = if range.off {
        format!("^off$|{DURATION}")
    } else {
        DURATION.to_owned()
    };
    json!({ "type": "string", "pattern": pattern })
}

fn text(form: Form) -> Value {
    json!({ "type": "string", "pattern": form.pattern(), "examples": [form.example()] })
}
