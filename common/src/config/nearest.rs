//! The nearest right name for a wrong one.

use super::keys;
use super::kind::Section;

/// The candidate that a reader most likely meant, if one is near enough.
pub(super) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    // A third of the letters may be wrong; a longer common beginning (`interval_ms`) counts as near
    // too.
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wrong, candidate);
            let near = distance <= candidate.len().max(3) / 3
                || (candidate.len() > 3
                    && (wrong.starts_with(candidate) || candidate.starts_with(&wrong))
                    && wrong.len() > 3);
            (near, distance, candidate)
        })
        .filter(|(near, _, _)| *near)
        .min_by_key(|(_, distance, _)| *distance)
        .map(|(_, _, candidate)| candidate)
}

/// The remedy for a key that the section does not know.
pub(super) fn remedy_for_key(section: &Section, wrong: &str) -> String {
    let own = section.keys.iter().map(|key| key.name);
    let elsewhere = keys::SECTIONS
        .iter()
        .find(|other| other.keys.iter().any(|key| key.name == wrong))
        .map(|other| format!("`{wrong}` belongs in {}", heading(other)));
    let near = nearest(wrong, own.clone()).map(|name| format!("the nearest key is `{name}`"));
    match (near, elsewhere) {
        (Some(near), Some(elsewhere)) => format!("{elsewhere}; {near}"),
        (Some(remedy), None) | (None, Some(remedy)) => remedy,
        (None, None) => format!("its keys are {}", list(own)),
    }
}

/// `[pair]`, `[nodes.NAME]` or `probe`.
pub(super) fn heading(section: &Section) -> String {
    match section.shape {
        super::kind::Shape::Once => format!("[{}]", section.name),
        super::kind::Shape::Named => format!("[{}.NAME]", section.name),
        super::kind::Shape::Inline => section.name.to_owned(),
    }
}

/// `a, b and c`
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// `did you mean …`, or all the names that exist.
pub(super) fn remedy_for_name<'a>(
    what: &str,
    wrong: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(wrong, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => format!("the file has no {what}"),
        None => format!("the file's {what} are {}", list(names)),
    }
}
