//! The pair's key file: lines `ID HEX`. The first key signs, all of them are accepted.

use thiserror::Error;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// What is wrong with a key file. Never holds anything of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    #[error("line {line} is not `ID HEX`")]
    Shape { line: usize },
    #[error("the ID in line {line} is not a number from 1 to 255")]
    Id { line: usize },
    #[error("the ID {id} in line {line} is used by an earlier line too")]
    Repeated { line: usize, id: u8 },
    #[error("the key in line {line} has {found} characters instead of {}", KEY_BYTES * 2)]
    Length { line: usize, found: usize },
    #[error("the key in line {line} is not hexadecimal")]
    NotHex { line: usize },
    #[error("there is no key in it")]
    Empty,
}

/// The keys of a key file in their order. Blank lines and lines that begin with `#` are skipped.
///
/// # Errors
/// The first line that is wrong.
pub fn parse_key_file(text: &str) -> Result<Vec<(u8, [u8; KEY_BYTES])>, KeyFileError> {
    let mut keys: Vec<(u8, [u8; KEY_BYTES])> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let line = index + 1;
        let (id, key) = parse_line(line, content)?;
        if keys.iter().any(|(earlier, _)| *earlier == id) {
            return Err(KeyFileError::Repeated { line, id });
        }
        keys.push((id, key));
    }
    if keys.is_empty() {
        return Err(KeyFileError::Empty);
    }
    Ok(keys)
}

/// Why a node must not go from one set of keys to another in one step; both in the order of their files.
/// The other node takes the step a moment before or after it: what either of them signs with has to be
/// among the keys of both.
pub fn no_rotation(
    running: &[(u8, [u8; KEY_BYTES])],
    next: &[(u8, [u8; KEY_BYTES])],
) -> Option<String> {
    let ((old, _), (new, _)) = (running.first()?, next.first()?);
    if !running.contains(&next[0]) {
        return Some(format!(
            "key {new} is new and would sign at once, and the other node may not have it yet: put it behind the others \
             and load that on both nodes, then put it in front and load that on both"
        ));
    }
    if !next.contains(&running[0]) {
        return Some(format!(
            "key {old} is what the other node may still sign with: leave it behind the new one until both nodes have \
             loaded a file with the new one in front"
        ));
    }
    None
}

fn parse_line(line: usize, content: &str) -> Result<(u8, [u8; KEY_BYTES]), KeyFileError> {
    let (id, hex) = content
        .split_once(char::is_whitespace)
        .ok_or(KeyFileError::Shape { line })?;
    let id = match id.parse::<u8>() {
        Ok(0) | Err(_) => return Err(KeyFileError::Id { line }),
        Ok(id) => id,
    };
    let hex = hex.trim();
    let found = hex.chars().count();
    if found != KEY_BYTES * 2 {
        return Err(KeyFileError::Length { line, found });
    }
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            (None, _) | (_, None) => return Err(KeyFileError::NotHex { line }),
        }
    }
    Ok((id, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_changed_in_steps_that_leave_the_nodes_a_common_one() {
        let (old, new, forged) = ((1, [1; 32]), (2, [2; 32]), (1, [9; 32]));
        let why_not = |running: &[_], next: &[_]| no_rotation(running, next).unwrap_or_default();
        for (running, next) in [
            (&[old][..], &[old][..]),
            (&[old], &[old, new]),
            (&[old, new], &[new, old]),
            (&[new, old], &[new]),
            (&[old, new], &[old]),
        ] {
            assert_eq!(why_not(running, next), "");
        }
        assert!(why_not(&[old], &[new, old]).starts_with("key 2 is new"));
        assert!(why_not(&[old], &[new]).starts_with("key 2 is new"));
        assert!(why_not(&[old], &[forged]).starts_with("key 1 is new"));
        assert!(why_not(&[old, new], &[new]).starts_with("key 1 is what"));
    }

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF";

    #[test]
    fn keys_come_in_the_order_of_the_file() {
        let text = format!("# made by keygen\n\n7 {HEX}\n 1\t{HEX} \n");
        let keys = parse_key_file(&text).expect("both lines are right");
        assert_eq!(keys.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [7, 1]);
        assert_eq!(keys[0].1[..3], [0, 1, 2]);
        assert_eq!(keys[0].1[31], 0xff);
    }

    #[test]
    fn each_fault_names_its_line() {
        let fault = |text: &str| parse_key_file(text).expect_err("the text is wrong");
        assert_eq!(fault(""), KeyFileError::Empty);
        assert_eq!(fault("# only this"), KeyFileError::Empty);
        assert_eq!(fault("\n1"), KeyFileError::Shape { line: 2 });
        assert_eq!(fault(&format!("0 {HEX}")), KeyFileError::Id { line: 1 });
        assert_eq!(fault(&format!("256 {HEX}")), KeyFileError::Id { line: 1 });
        assert_eq!(
            fault(&format!("1 {HEX}\n1 {HEX}")),
            KeyFileError::Repeated { line: 2, id: 1 }
        );
        assert_eq!(fault("1 00ff"), KeyFileError::Length { line: 1, found: 4 });
        let not_hex = HEX.replace('a', "g");
        assert_eq!(
            fault(&format!("1 {not_hex}")),
            KeyFileError::NotHex { line: 1 }
        );
        let wide = "é".repeat(64);
        assert_eq!(
            fault(&format!("1 {wide}")),
            KeyFileError::NotHex { line: 1 }
        );
    }
}
