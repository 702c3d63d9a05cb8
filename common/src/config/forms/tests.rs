use super::*;

const MS: Duration = Duration::from_millis(1);
const RANGE: DurationRange =
    DurationRange::new(Duration::ZERO, Duration::from_secs(3_600)).steps_of(MS);

#[test]
fn a_duration_is_a_whole_number_with_a_unit() {
    let read = |text: &str| duration(text, &RANGE).ok().flatten();
    assert_eq!(read("100ms"), Some(MS * 100));
    assert_eq!(read("10 s"), Some(MS * 10_000));
    assert_eq!(read("60m"), read("1h"));
    for wrong in [
        "", "s", "1.5s", "-1s", "+1s", "1d", "1s ", "off", "2h", "\u{661}s",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
    // Neither the number nor its product with the unit may overflow.
    for huge in ["18446744073709551615h", "99999999999999999999ms"] {
        assert_eq!(read(huge), None, "{huge}");
    }
}

#[test]
fn a_bare_number_is_answered_with_the_units_that_fit() {
    assert_eq!(
        spell_duration("5", &RANGE),
        "say the unit: \"5ms\" or \"5s\" or \"5m\""
    );
    assert_eq!(spell_duration("5000", &RANGE), "say the unit: \"5000ms\"");
    assert_eq!(spell_duration("-1", &RANGE), "use 0s to 1h");
}

#[test]
fn addresses_are_of_one_machine() {
    for wrong in [
        "0.0.0.0:80",
        "224.0.0.18:80",
        "255.255.255.255:80",
        "10.0.0.1:0",
        "[::]:80",
    ] {
        assert!(text(wrong, Form::Server).is_err(), "{wrong}");
    }
    assert!(text("[fd00::1]:80", Form::Server).is_ok());
    assert!(text("[::ffff:10.0.0.1]:80", Form::Server).is_err());
    assert!(text("[fe80::1%2]:80", Form::Bind).is_err());
    assert!(text("0.0.0.0:80", Form::Bind).is_ok());
    assert!(text("vips.api:+80", Form::Bind).is_err());
}

#[test]
fn a_bind_has_one_port_or_several_in_a_row() {
    let ports = |bind: &str| match text(bind, Form::Bind) {
        Ok(Value::Bind(bind)) => Ok((bind.first_port, bind.last_port)),
        Ok(other) => panic!("{other:?}"),
        Err(fault) => Err(fault),
    };
    assert_eq!(ports("vips.api:443"), Ok((443, 443)));
    assert_eq!(ports("vips.api-2:80-90"), Ok((80, 90)));
    assert_eq!(ports("10.0.0.1:1-65535"), Ok((1, 65_535)));
    assert_eq!(ports("[fd00::1]:80-80"), Ok((80, 80)));
    for wrong in [
        "10.0.0.1:80-",
        "10.0.0.1:-80",
        "10.0.0.1:0-80",
        "10.0.0.1:80-65536",
        "10.0.0.1:8-9-10",
        "fd00::1:80-90",
        "vips.api-2",
        "80-90",
        "10.0.0.1:80 - 90",
        "10.0.0.1:+80-90",
    ] {
        assert!(ports(wrong).is_err(), "{wrong}");
    }
    let fault = ports("[fd00::1]:90-80").expect_err("it ends before it begins");
    assert_eq!(fault.help, "write the lower port first: 80-90");
}
