//! What the nodes know of each other's sessions, beside the other node.

use common::status::{LinkStatus, RescueStatus};

use super::{age, succession};

/// Nothing where all is as it should be and nothing has happened.
pub(super) fn lines(
    (link, rescue): (Option<&LinkStatus>, Option<&RescueStatus>),
    peer: &str,
) -> Vec<String> {
    let known = link.filter(|link| link.heard > 0);
    let known = known.map(|link| {
        let now = match link.hearing_ms {
            Some(_) => String::new(),
            None => ", as it told last".to_owned(),
        };
        format!("{} sessions of {peer} known here{now}", link.heard)
    });
    let told = rescue.and_then(|rescue| {
        let ago = age(rescue.last_ms_ago?);
        let (freed, clients) = (rescue.last_freed, rescue.last_clients);
        Some(match rescue.last_took_ms {
            None => format!("the clients of {peer}'s lost connections are being told"),
            Some(took) => format!(
                "{freed} of {clients} clients of {peer}'s lost connections were told {ago} ago, in {took} ms"
            ),
        })
    });
    // How long it has for it stands in the warnings.
    let drain = link.and_then(|link| link.drain.as_ref());
    let drain = drain.map(|drain| succession::left(&drain.left));
    let drain = drain.filter(|left| !left.is_empty());
    let drain = drain.map(|left| format!("left on {peer}: {left}"));
    let retired = link.map_or(&[][..], |link| &link.retired);
    let retired = succession::sentences(retired, peer);
    known
        .into_iter()
        .chain(drain)
        .chain(retired)
        .chain(told)
        .collect()
}

#[cfg(test)]
mod tests {
    use common::status::{DrainStatus, RemainingOf, RemainingStatus};

    use super::*;

    #[test]
    fn what_is_known_and_what_was_done_is_told() {
        let mut link = LinkStatus {
            hearing_ms: Some(5),
            ..LinkStatus::default()
        };
        let mut rescue = RescueStatus::default();
        let nothing: [&str; 0] = [];
        assert_eq!(lines((Some(&link), Some(&rescue)), "lb2"), nothing);
        assert_eq!(lines((None, None), "lb2"), nothing);
        link.heard = 214;
        let known = "214 sessions of lb2 known here";
        assert_eq!(lines((Some(&link), Some(&rescue)), "lb2"), [known]);
        let api = RemainingOf {
            name: "api".to_owned(),
            sessions: 214,
        };
        link.drain = Some(DrainStatus {
            left: RemainingStatus {
                listeners: vec![api],
                ..RemainingStatus::default()
            },
            ..DrainStatus::default()
        });
        let said = lines((Some(&link), None), "lb2");
        assert_eq!(said, [known, "left on lb2: api 214"]);
        link.drain = None;
        link.hearing_ms = None;
        rescue.last_ms_ago = Some(61_000);
        let said = lines((Some(&link), Some(&rescue)), "lb2");
        assert_eq!(
            said,
            [
                "214 sessions of lb2 known here, as it told last",
                "the clients of lb2's lost connections are being told"
            ]
        );
        (rescue.last_took_ms, rescue.last_clients, rescue.last_freed) = (Some(93), 200, 199);
        let said = lines((None, Some(&rescue)), "lb2");
        assert!(
            said[0].starts_with("199 of 200 clients of lb2's lost connections were told")
                && said[0].ends_with("ago, in 93 ms"),
            "{said:?}"
        );
    }
}
