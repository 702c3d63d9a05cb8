//! Texts that become parts of an HTTP request: nothing in them may end a line of it early.

use super::{Fault, example, not_a};
use crate::config::StatusRange;
use crate::config::kind::Form;
use crate::config::value::Value;

/// Headers that the probe writes itself.
const OURS: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];
/// Longest text that is looked for in an answer.
const MAX_TEXT: usize = 1_024;

/// RFC 9110, section 9.1: a token; all that are registered are upper case.
pub(super) fn method(text: &str) -> Result<Value, Fault> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
    match text {
        "CONNECT" => Err(Fault::new(
            "CONNECT asks a proxy, not a server",
            "use \"GET\", \"HEAD\" or \"OPTIONS\"",
        )),
        _ if fits => Ok(Value::Text(text.to_owned())),
        _ => Err(not_a(text, Form::Method, example(Form::Method))),
    }
}

pub(super) fn target(text: &str) -> Result<Value, Fault> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && !text.contains('#') {
        return Ok(Value::Text(text.to_owned()));
    }
    let help = format!(
        "begin with `/` and write other characters than visible ASCII as %XX, {}",
        example(Form::Target)
    );
    Err(not_a(text, Form::Target, help))
}

pub(super) fn host(text: &str) -> Result<Value, Fault> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(not_a(text, Form::Host, example(Form::Host)))
}

/// RFC 9110, section 5: a token, a colon, and visible ASCII with spaces.
pub(super) fn header(text: &str) -> Result<Value, Fault> {
    let wrong = || not_a(text, Form::Header, example(Form::Header));
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let in_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let value = value.trim_matches(' ');
    let fits = !name.is_empty()
        && name.bytes().all(in_token)
        && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !fits {
        return Err(wrong());
    }
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        let help = if name.eq_ignore_ascii_case("host") {
            "use the key `host`"
        } else {
            "leave it out"
        };
        return Err(Fault::new(
            format!("the probe writes the header `{name}` itself"),
            help,
        ));
    }
    Ok(Value::Header(name.to_owned(), value.to_owned()))
}

pub(super) fn status_range(text: &str) -> Result<Value, Fault> {
    let number = |text: &str| {
        let number = text.parse::<u16>().ok().filter(|_| text.len() == 3);
        number.filter(|number| (100..=599).contains(number))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match number(first).zip(number(last)) {
        Some((first, last)) if first <= last => {
            Ok(Value::StatusRange(StatusRange::new(first, last)))
        }
        _ => Err(not_a(
            text,
            Form::StatusRange,
            "write \"200\" or \"200-399\", from 100 to 599".to_owned(),
        )),
    }
}

pub(super) fn any(text: &str) -> Result<Value, Fault> {
    if (1..=MAX_TEXT).contains(&text.len()) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Fault::new(
        format!("a text of {} bytes is empty or too long", text.len()),
        format!("write 1 to {MAX_TEXT} bytes"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_of_the_request_early() {
        for wrong in ["", "get", "GET /", "G\r\n", "CONNECT"] {
            assert!(method(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "healthz", "/a b", "/a\r\nX: y", "/ä", "/a#b"] {
            assert!(target(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "a b", "a\r\nX: y", "ä"] {
            assert!(host(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [
            "X",
            ": y",
            "X Y: z",
            "X: a\r\nY: b",
            "X: ä",
            "HOST: a",
            "Connection: keep-alive",
        ] {
            assert!(header(wrong).is_err(), "{wrong:?}");
        }
        let read = header("X-Probe:  a b ").ok();
        assert_eq!(read, Some(Value::Header("X-Probe".into(), "a b".into())));
    }

    #[test]
    fn numbers_are_of_http_and_in_order() {
        let range = |text: &str| match status_range(text) {
            Ok(Value::StatusRange(range)) => Some(range),
            _ => None,
        };
        assert_eq!(range("200"), Some(StatusRange::new(200, 200)));
        assert_eq!(range("200-399"), Some(StatusRange::new(200, 399)));
        for wrong in [
            "",
            "20",
            "2xx",
            "600",
            "099",
            "399-200",
            "200-",
            "+20",
            "200-399-400",
        ] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
