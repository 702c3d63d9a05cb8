//! The keys of a step of a dialogue.

use crate::config::kind::{Default, Form, Key, Kind, Section, Shape};

pub(in crate::config) const STEP: Section = Section {
    name: "step",
    shape: Shape::Inline,
    doc: "A step of a probe's dialogue: it sends, or it expects. Escapes are `\\r`, `\\n`, `\\t`, `\\\\` and `\\xHH`; in \
          TOML's single quotes they stand as they are, in double quotes with a second `\\`, where TOML itself knows \
          the first three. The first step that fails ends the dialogue, and its number is in the reason.",
    example: r#"{ send = "PING\r\n" }, { expect = "+PONG", fail = "-" }"#,
    keys: &[
        Key {
            name: "send",
            kind: Kind::Text(Form::Bytes),
            default: Default::Unset("the step expects something"),
            doc: "Bytes that are sent; what the server has said before counts no more",
        },
        Key {
            name: "expect",
            kind: Kind::Text(Form::Bytes),
            default: Default::Unset("the step sends something"),
            doc: "Bytes that are in what the server has said since something was sent, or from the beginning: 16 KiB \
                  at most, in any number of pieces. Several in a row look at the same bytes",
        },
        Key {
            name: "fail",
            kind: Kind::Text(Form::Bytes),
            default: Default::Unset(
                "only the end of the time, of the answer or of its 16 KiB says no",
            ),
            doc: "Beside `expect`: bytes by which the server says no; if they come first, the probe fails at once (L7STS)",
        },
        Key {
            name: "comment",
            kind: Kind::Text(Form::Text),
            default: Default::Unset("its text"),
            doc: "How the step is called in the reason when it fails",
        },
    ],
};
