//! As much of JSON Schema as our schema uses, without regular expressions.

use serde_json::Value;

/// Where the value does not fit the schema.
pub(crate) fn problems(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(wanted) = schema["type"].as_str() {
        let fits = match wanted {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("the schema uses a type that this check does not know: {other}"),
        };
        if !fits {
            return vec![format!("{at}: {value} is no {wanted}")];
        }
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    if !schema["not"].is_null() && problems(&schema["not"], value, at).is_empty() {
        found.push(format!("{at}: {value} is excluded"));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices
            .iter()
            .filter(|choice| problems(choice, value, at).is_empty());
        if fitting.count() != 1 {
            found.push(format!(
                "{at}: {value} does not fit exactly one of {choices:?}"
            ));
        }
    }
    number(schema, value, at, &mut found);
    object(schema, value, at, &mut found);
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        if !schema["items"].is_null() {
            found.extend(problems(
                &schema["items"],
                element,
                &format!("{at}[{index}]"),
            ));
        }
    }
    found
}

fn number(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(number) = value.as_i64() else { return };
    let too_small = schema["minimum"]
        .as_i64()
        .is_some_and(|minimum| number < minimum);
    let too_great = schema["maximum"]
        .as_i64()
        .is_some_and(|maximum| number > maximum);
    if too_small || too_great {
        found.push(format!("{at}: {number} is out of range"));
    }
}

fn object(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(name.as_str().expect("a name is a text")) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, value) in object {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null | Value::Bool(true)) => {}
            (Value::Null, Value::Bool(false)) => found.push(format!("{at} is unknown")),
            (Value::Null, other) => found.extend(problems(other, value, &at)),
            (property, _) => found.extend(problems(property, value, &at)),
        }
    }
}
