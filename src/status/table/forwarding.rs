//! Flow forwarding, beside the other node.

use common::status::ForwardingStatus;

/// Nothing where nobody could expect it.
pub(super) fn line(forwarding: &ForwardingStatus, peer: &str) -> Option<String> {
    let deaths = match forwarding.peer_deaths {
        0 => String::new(),
        deaths => format!("  {peer}'s machine lost {deaths} times"),
    };
    match forwarding.state.as_str() {
        "" | "off" => None,
        "on" => {
            let sent = ["syn-there", "foreign", "unknown", "icmp-there", "fragment"];
            let counts = sent
                .iter()
                .filter_map(|cause| forwarding.packets.get(*cause));
            let sent: u64 = counts.sum();
            let theirs = if forwarding.peer_forwards {
                "on both nodes"
            } else {
                "on this node only"
            };
            Some(format!(
                "flow forwarding {theirs}  {sent} packets sent to {peer}{deaths}"
            ))
        }
        state => Some(format!(
            "flow forwarding {state}: {}{deaths}",
            forwarding.reason
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_there_is_counted_together() {
        let mut forwarding = ForwardingStatus {
            state: "on".to_owned(),
            peer_forwards: true,
            packets: [("socket", 7), ("unknown", 30), ("foreign", 4)]
                .map(|(cause, packets)| (cause.to_owned(), packets))
                .into(),
            ..ForwardingStatus::default()
        };
        let said = line(&forwarding, "lb2");
        let expected = "flow forwarding on both nodes  34 packets sent to lb2";
        assert_eq!(said.as_deref(), Some(expected));
        forwarding.state = "refused".to_owned();
        forwarding.reason = "no CAP_BPF".to_owned();
        let said = line(&forwarding, "lb2");
        assert_eq!(said.as_deref(), Some("flow forwarding refused: no CAP_BPF"));
        forwarding.state = "off".to_owned();
        assert_eq!(line(&forwarding, "lb2"), None);
    }
}
