//! Ranges of ports.

use super::{Fault, Value, not_a};
use crate::config::PortRange;
use crate::config::kind::Form;

pub(super) fn ports(text: &str) -> Result<Value, Fault> {
    let bounds = text.split_once('-').and_then(|(first, last)| {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| plain)
        };
        Some((number(first)?, number(last)?))
    });
    let Some((first, last)) = bounds else {
        let help = "write the first and the last one, up to 65535: \"10000-60000\"";
        return Err(not_a(text, Form::Ports, help.to_owned()));
    };
    if last < first {
        return Err(Fault::new(
            format!("`{text}` is a range that ends before it begins"),
            format!("write the lower port first: {last}-{first}"),
        ));
    }
    PortRange::new(first, last)
        .map(Value::Ports)
        .ok_or_else(|| {
            Fault::new(
                format!("`{text}` begins below 1024, where only root may have ports"),
                "begin at 1024 or above",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_of_its_ends() {
        let Ok(Value::Ports(range)) = ports("10000-10002") else {
            panic!("it is one");
        };
        assert_eq!(range.to_string(), "10000-10002");
        let found: Vec<u16> = (0..4).map(|number| range.port(number)).collect();
        assert_eq!(found, [10_000, 10_001, 10_002, 10_000]);
        assert_eq!(
            PortRange::new(1024, 65_535).map(|all| all.port(64_511)),
            Some(65_535)
        );
    }

    #[test]
    fn what_is_no_range_says_why() {
        for (text, why) in [
            ("10000", "not a range"),
            ("10000-", "not a range"),
            ("+1024-2000", "not a range"),
            ("10000-70000", "not a range"),
            ("2000-1024", "ends before it begins"),
            ("1023-2000", "only root"),
        ] {
            let fault = ports(text).expect_err(text);
            assert!(fault.message.contains(why), "{text}: {}", fault.message);
        }
    }
}
