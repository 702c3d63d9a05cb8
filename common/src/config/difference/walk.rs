//! Two tables side by side.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{Change, What, words};

/// What tells one element of a list of tables from another.
const IDENTITY: &str = "address";

/// A section that one side does not have is empty there: its tables are added or removed one by one.
pub(super) fn sections(old: &Table, new: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let none = Table::new();
    for name in keys(old, new) {
        let of = |side: &Table| match side.get(name) {
            Some(Value::Table(table)) => table.clone(),
            Some(_) | None => none.clone(),
        };
        let mut path = vec![name.to_owned()];
        tables((&of(old), &of(new)), &mut path, &mut changes);
    }
    changes
}

fn tables((old, new): (&Table, &Table), path: &mut Vec<String>, changes: &mut Vec<Change>) {
    for key in keys(old, new) {
        path.push(key.to_owned());
        values((old.get(key), new.get(key)), path, changes);
        path.pop();
    }
}

fn values(
    sides: (Option<&Value>, Option<&Value>),
    path: &mut Vec<String>,
    changes: &mut Vec<Change>,
) {
    // [listeners.web] and the like: `path` is the section and the name.
    let is_section = path.len() == 2;
    let what = match sides {
        (Some(old), Some(new)) if old == new => return,
        (Some(Value::Table(old)), Some(Value::Table(new))) => {
            return tables((old, new), path, changes);
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            return arrays((old, new), path, changes);
        }
        (None, Some(Value::Table(new))) if is_section => What::Added(gist(new)),
        (Some(Value::Table(_)), None) if is_section => What::Removed(String::new()),
        (old, new) => What::Changed {
            from: words(path, old),
            to: words(path, new),
        },
    };
    changes.push(Change {
        path: path.clone(),
        what,
    });
}

fn arrays((old, new): (&[Value], &[Value]), path: &mut Vec<String>, changes: &mut Vec<Change>) {
    let before = changes.len();
    for one in old {
        let same = |other: &&Value| same_element(one, other);
        match new.iter().find(same) {
            Some(other) => {
                if let (Value::Table(old), Value::Table(new), Some(name)) =
                    (one, other, identity(one))
                {
                    path.push(format!("[{name}]"));
                    tables((old, new), path, changes);
                    path.pop();
                }
            }
            None => changes.push(element(path, one, What::Removed)),
        }
    }
    for one in new {
        if !old.iter().any(|other| same_element(one, other)) {
            changes.push(element(path, one, What::Added));
        }
    }
    if changes.len() == before {
        // The same ones in another order, or one of them more often.
        let whole = |side: &[Value]| Some(Value::Array(side.to_vec()));
        changes.push(Change {
            path: path.clone(),
            what: What::Changed {
                from: words(path, whole(old).as_ref()),
                to: words(path, whole(new).as_ref()),
            },
        });
    }
}

fn element(path: &[String], value: &Value, what: impl Fn(String) -> What) -> Change {
    Change {
        path: path.to_vec(),
        what: what(words(path, Some(value))),
    }
}

fn same_element(one: &Value, other: &Value) -> bool {
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        (None, Some(_)) | (Some(_), None) => false,
        (None, None) => one == other,
    }
}

fn identity(value: &Value) -> Option<&str> {
    value.as_table()?.get(IDENTITY)?.as_str()
}

/// What a new section is about.
fn gist(table: &Table) -> String {
    let told = ["bind", "backend", "address", "servers"];
    let told = told.iter().filter_map(|key| {
        let value = table.get(*key)?;
        let names = value.as_array().map(|all| {
            let names = all.iter().filter_map(identity);
            Value::Array(names.map(|name| Value::String(name.to_owned())).collect())
        });
        let names = names.filter(|names| names.as_array().is_some_and(|all| !all.is_empty()));
        Some(format!(
            "{key} = {}",
            words(&[], Some(names.as_ref().unwrap_or(value)))
        ))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn keys<'a>(old: &'a Table, new: &'a Table) -> BTreeSet<&'a str> {
    old.keys().chain(new.keys()).map(String::as_str).collect()
}
