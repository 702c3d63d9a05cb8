//! Bytes of a protocol, with escapes for those that a text cannot hold.

use super::{Fault, example, not_a};
use crate::config::kind::Form;
use crate::config::value::Value;

/// Most bytes of one text.
const MAX_BYTES: usize = 4_096;

pub(super) fn bytes(text: &str) -> Result<Value, Fault> {
    let Some(bytes) = unescape(text) else {
        let help = format!(
            "a `\\` begins one of \\r \\n \\t \\\\ and \\xHH with two hexadecimal digits, {}",
            example(Form::Bytes)
        );
        return Err(not_a(text, Form::Bytes, help));
    };
    if (1..=MAX_BYTES).contains(&bytes.len()) {
        return Ok(Value::Bytes(bytes));
    }
    Err(Fault::new(
        format!("these are {} bytes", bytes.len()),
        format!("write 1 to {MAX_BYTES} bytes"),
    ))
}

/// `None` = a `\` that begins no escape.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                hex(digits)?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |byte, digit| {
        let digit = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        Some(byte << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Escaped;

    #[test]
    fn escapes_are_bytes_and_the_rest_is_itself() {
        assert_eq!(
            unescape(r"PING\r\n\t\\\x00\xfF"),
            Some(b"PING\r\n\t\\\x00\xff".to_vec())
        );
        assert_eq!(unescape("a\r\nä"), Some("a\r\nä".into()));
        for wrong in [r"\", r"\q", r"\x", r"\x1", r"\x1g", r"\x+1", r"\X41"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(bytes("").is_err());
        assert!(bytes(&r"\x00".repeat(MAX_BYTES)).is_ok());
        assert!(bytes(&"a".repeat(MAX_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&Escaped(&bytes).to_string()), Some(bytes));
        }
    }
}
