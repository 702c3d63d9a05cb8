//! A table of the TOML document → the values of its section, with everything that is wrong about
//! it.

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Findings, Span};
use super::forms::{self, Fault};
use super::kind::{Choice, Default, IntegerRange, Key, Kind, Section};
use super::nearest::{heading, list, nearest, remedy_for_key};
use super::value::{At, Value, Values};

type Item<'i> = toml::Spanned<DeValue<'i>>;

/// A table and how it is called in messages.
pub(super) struct Table<'a, 'i> {
    pub(super) section: &'static Section,
    /// `[nodes.lb1]`
    pub(super) title: String,
    pub(super) header: Span,
    pub(super) table: &'a DeTable<'i>,
}

/// The entries of a table in the order of the file.
pub(super) fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a str, Span, &'a Item<'i>)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (key.get_ref().as_ref(), Span::from(key.span()), value))
        .collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

/// Reads one table; unknown keys, wrong values and missing keys are reported.
pub(super) fn read_table(table: &Table<'_, '_>, findings: &mut Findings) -> Values {
    let mut values = Values {
        section: table.section,
        header: table.header,
        entries: Vec::new(),
    };
    let entries = in_order(table.table);
    let mut meant = Vec::new();
    for (name, span, item) in &entries {
        let Some(key) = table.section.keys.iter().find(|key| key.name == *name) else {
            meant.extend(nearest(name, table.section.keys.iter().map(|key| key.name)));
            findings.error(
                *span,
                format!("unknown key `{name}` in {}", table.title),
                remedy_for_key(table.section, name),
            );
            continue;
        };
        let title = format!("{} {name}", table.title);
        if let Some(value) = read(item, &key.kind, &title, findings) {
            values.entries.push((key, value));
        }
    }
    let is_there = |key: &Key| entries.iter().any(|(name, _, _)| *name == key.name);
    for key in table.section.keys.iter().filter(|key| !is_there(key)) {
        // A misspelt key is not missing too.
        if key.default != Default::Required || !meant.contains(&key.name) {
            add_default(table, key, &mut values, findings);
        }
    }
    values
}

fn add_default(
    table: &Table<'_, '_>,
    key: &'static Key,
    values: &mut Values,
    findings: &mut Findings,
) {
    match key.default {
        Default::Unset(_) | Default::Inherited { .. } => {}
        Default::Required => findings.missing(
            table.header,
            format!("{} has no `{}`", table.title, key.name),
            format!("add `{}`: {}", example(key), key.doc),
        ),
        Default::Toml(text) => {
            let value = read_default(&key.kind, text);
            values.entries.push((
                key,
                At {
                    value,
                    span: table.header,
                    given: false,
                },
            ));
        }
    }
}

/// The value of a default; a wrong one is a fault of the table of keys.
pub(super) fn read_default(kind: &'static Kind, text: &'static str) -> Value {
    let mut findings = Findings::default();
    DeValue::parse(text)
        .ok()
        .and_then(|item| read(&item, kind, "", &mut findings))
        .filter(|_| !findings.has_errors())
        .expect("each default in the table of keys is a value of its key's kind")
        .value
}

/// A line that sets the key.
fn example(key: &Key) -> String {
    let value = match &key.kind {
        Kind::Bool => "true".to_owned(),
        Kind::Integer(range) | Kind::ByNode(range) => range.min.to_string(),
        Kind::Lowering(range) => format!("-{}", range.min),
        Kind::Duration(range) => format!("\"{}\"", super::kind::show_duration(range.min)),
        Kind::Text(form) => format!("\"{}\"", form.example()),
        Kind::Choice(choice) => format!("\"{}\"", choice.values[0]),
        Kind::List(Kind::Text(form)) => format!("[\"{}\"]", form.example()),
        Kind::List(Kind::TableOr(section, short)) => match short_form(section, short) {
            Some(form) => format!("[\"{}\"]", form.example()),
            None => "[{ … }]".to_owned(),
        },
        Kind::List(_) => "[…]".to_owned(),
        Kind::Table(_) | Kind::TableOr(..) | Kind::TableOrOff(_) => "{ … }".to_owned(),
    };
    format!("{} = {value}", key.name)
}

/// The form of the text that stands for a table.
fn short_form(section: &Section, short: &str) -> Option<super::kind::Form> {
    let key = section.keys.iter().find(|key| key.name == short)?;
    if let Kind::Text(form) = key.kind {
        Some(form)
    } else {
        None
    }
}

/// Reads one value as its kind demands; `None` = it was wrong and has been reported.
fn read(
    item: &Item<'_>,
    kind: &'static Kind,
    title: &str,
    findings: &mut Findings,
) -> Option<At<Value>> {
    let span = Span::from(item.span());
    let value = item.get_ref();
    let read = match kind {
        Kind::Bool => read_bool(value, title),
        Kind::Integer(range) => read_integer(value, range, title),
        Kind::Lowering(range) => read_lowering(value, range, title),
        Kind::Duration(range) => match value.as_str() {
            Some(text) => forms::duration(text, range).map(Value::Duration),
            None => Err(Fault::new(
                wrong_type(value, "a duration", title),
                match value.as_integer() {
                    Some(number) => forms::spell_duration(&number.to_string(), range),
                    None => format!("use {}", range.words()),
                },
            )),
        },
        Kind::Text(form) => match value.as_str() {
            Some(text) => forms::text(text, *form),
            None => Err(Fault::new(
                wrong_type(value, form.words(), title),
                format!("write it in quotes, for example \"{}\"", form.example()),
            )),
        },
        Kind::Choice(choice) => read_choice(value, choice, title),
        Kind::List(element) => {
            return read_list(item, element, title, findings);
        }
        Kind::Table(section) => {
            return read_plain_table(item, (section, section.name), (title, None), findings);
        }
        Kind::TableOr(section, key) => return read_table_or(item, section, key, findings),
        Kind::TableOrOff(section) => return read_table_or_off(item, section, title, findings),
        Kind::ByNode(range) => return read_by_node(item, range, title, findings),
    };
    match read {
        Ok(value) => Some(At {
            value,
            span,
            given: true,
        }),
        Err(fault) => {
            findings.error(span, fault.message, fault.help);
            None
        }
    }
}

fn read_bool(value: &DeValue<'_>, title: &str) -> Result<Value, Fault> {
    value.as_bool().map(Value::Bool).ok_or_else(|| {
        Fault::new(
            wrong_type(value, "true or false", title),
            "write true or false, without quotes",
        )
    })
}

fn read_integer(value: &DeValue<'_>, range: &IntegerRange, title: &str) -> Result<Value, Fault> {
    let Some(integer) = value.as_integer() else {
        return Err(Fault::new(
            wrong_type(value, "a whole number", title),
            format!("write {}, without quotes", range.words()),
        ));
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    if let Some((except, why)) = range.except
        && number == Some(except)
    {
        return Err(Fault::new(why, format!("use {}", range.words())));
    }
    number
        .filter(|number| (range.min..=range.max).contains(number))
        .map(Value::Integer)
        .ok_or_else(|| {
            Fault::new(
                format!("{integer} is out of range in {title}"),
                format!("use {}", range.words()),
            )
        })
}

/// What a negative number takes away.
fn read_lowering(value: &DeValue<'_>, range: &IntegerRange, title: &str) -> Result<Value, Fault> {
    let words = range.lowering_words();
    let Some(integer) = value.as_integer() else {
        return Err(Fault::new(
            wrong_type(value, "a whole number", title),
            format!("write {words}, without quotes"),
        ));
    };
    let number = i64::from_str_radix(integer.as_str(), integer.radix());
    let (taken, is_negative) = match number {
        Ok(number) => (number.unsigned_abs(), number < 0),
        Err(_) => (0, true),
    };
    if !(range.min..=range.max).contains(&taken) {
        return Err(Fault::new(
            format!("{integer} is out of range in {title}"),
            format!("use {words}"),
        ));
    }
    if !is_negative {
        return Err(Fault::new(
            format!("{title} is taken away, so it is negative"),
            format!("write -{taken}"),
        ));
    }
    Ok(Value::Integer(taken))
}

fn read_choice(value: &DeValue<'_>, choice: &Choice, title: &str) -> Result<Value, Fault> {
    let quoted: Vec<String> = choice.values.iter().map(|v| format!("\"{v}\"")).collect();
    let all = format!("use {}", quoted.join(" or "));
    let Some(text) = value.as_str() else {
        return Err(Fault::new(wrong_type(value, "a word", title), all));
    };
    if let Some(word) = choice.values.iter().find(|word| **word == text) {
        return Ok(Value::Word(word));
    }
    if choice.later.contains(&text) {
        return Err(Fault::new(
            format!("`{text}` is not supported by this version yet"),
            all,
        ));
    }
    let help = nearest(text, choice.values.iter().copied())
        .map_or(all, |word| format!("did you mean \"{word}\"?"));
    Err(Fault::new(format!("`{text}` is no value of {title}"), help))
}

fn read_list(
    item: &Item<'_>,
    element: &'static Kind,
    title: &str,
    findings: &mut Findings,
) -> Option<At<Value>> {
    let span = Span::from(item.span());
    let Some(array) = item.get_ref().as_array() else {
        let help = match item.get_ref().as_str() {
            Some(text) => format!("write it in brackets: [\"{text}\"]"),
            None => "write the values in brackets".to_owned(),
        };
        findings.error(span, wrong_type(item.get_ref(), "a list", title), help);
        return None;
    };
    let elements = array
        .iter()
        .filter_map(|item| read(item, element, title, findings))
        .collect();
    // An element that was wrong must not look like an empty list to the checks that follow.
    let list = At {
        value: Value::List(elements),
        span,
        given: true,
    };
    let whole = matches!(&list.value, Value::List(found) if found.len() == array.len());
    (whole || !matches!(&list.value, Value::List(found) if found.is_empty())).then_some(list)
}

/// `name` is what the table is called in what is said of its keys, `or` what may stand in its place.
fn read_plain_table(
    item: &Item<'_>,
    (section, name): (&'static Section, &str),
    (title, or): (&str, Option<&str>),
    findings: &mut Findings,
) -> Option<At<Value>> {
    let span = Span::from(item.span());
    let value = item.get_ref();
    if let Some(table) = value.as_table() {
        return inline_table(section, name.to_owned(), (span, table), findings);
    }
    let keys = list(section.keys.iter().map(|key| key.name));
    let (wanted, remedy) = match or {
        Some(or) => (format!("a table or {or}"), format!("{or}, or ")),
        None => ("a table".to_owned(), String::new()),
    };
    findings.error(
        span,
        wrong_type(value, &wanted, title),
        format!("write {remedy}{{ … }} with {keys}"),
    );
    None
}

fn read_table_or(
    item: &Item<'_>,
    section: &'static Section,
    short: &str,
    findings: &mut Findings,
) -> Option<At<Value>> {
    let header = Span::from(item.span());
    if let Some(table) = item.get_ref().as_table() {
        let title = section.name.to_owned();
        return inline_table(section, title, (header, table), findings);
    }
    // The text stands for a table with one key: the others have their defaults.
    let key = section.keys.iter().find(|key| key.name == short)?;
    let value = read(item, &key.kind, section.name, findings)?;
    let mut values = Values {
        section,
        header,
        entries: vec![(key, value)],
    };
    for key in section.keys.iter().filter(|key| key.name != short) {
        if let Default::Toml(text) = key.default {
            let value = read_default(&key.kind, text);
            values.entries.push((
                key,
                At {
                    value,
                    span: header,
                    given: false,
                },
            ));
        }
    }
    Some(At {
        value: Value::Table(values),
        span: header,
        given: true,
    })
}

fn read_table_or_off(
    item: &Item<'_>,
    section: &'static Section,
    title: &str,
    findings: &mut Findings,
) -> Option<At<Value>> {
    if item.get_ref().as_str() == Some("off") {
        return Some(At {
            value: Value::Off,
            span: Span::from(item.span()),
            given: true,
        });
    }
    read_plain_table(item, (section, title), (title, Some("\"off\"")), findings)
}

fn inline_table(
    section: &'static Section,
    title: String,
    (header, table): (Span, &DeTable<'_>),
    findings: &mut Findings,
) -> Option<At<Value>> {
    let table = Table {
        section,
        title,
        header,
        table,
    };
    Some(At {
        value: Value::Table(read_table(&table, findings)),
        span: header,
        given: true,
    })
}

fn read_by_node(
    item: &Item<'_>,
    range: &IntegerRange,
    title: &str,
    findings: &mut Findings,
) -> Option<At<Value>> {
    let span = Span::from(item.span());
    let Some(table) = item.get_ref().as_table() else {
        findings.error(
            span,
            wrong_type(item.get_ref(), "a table", title),
            "name each node: { lb1 = 250, lb2 = 240 }",
        );
        return None;
    };
    let mut by_node = Vec::new();
    for (name, name_span, value) in in_order(table) {
        let value_span = Span::from(value.span());
        let at = |value| At {
            value,
            span: value_span,
            given: true,
        };
        match read_integer(value.get_ref(), range, title) {
            Ok(value) => {
                let name = At {
                    value: name.to_owned(),
                    span: name_span,
                    given: true,
                };
                by_node.push((name, at(value)));
            }
            Err(fault) => findings.error(value_span, fault.message, fault.help),
        }
    }
    Some(At {
        value: Value::ByNode(by_node),
        span,
        given: true,
    })
}

fn wrong_type(value: &DeValue<'_>, wanted: &str, title: &str) -> String {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("{title} is {wanted}, and this is {found}")
}

/// The remedy for something that is not a table where a section is.
pub(super) fn section_heading(section: &Section) -> String {
    format!(
        "write {} in brackets on a line of its own",
        heading(section)
    )
}
