//! Flow forwarding, beside the other node.

use common::status::{ForwardingStatus, PeerStatus};

/// Nothing where nobody could expect it.
pub(super) fn line(forwarding: &ForwardingStatus, peer: &PeerStatus) -> Option<String> {
    let name = &peer.name;
    // What "auto" makes of it.
    let slow = match peer.silent_takeover.as_str() {
        "auto" => format!("; adverts alone tell that {name} is lost"),
        _ => String::new(),
    };
    let deaths = match forwarding.peer_deaths {
        0 => String::new(),
        deaths => format!("  {name}'s machine lost {deaths} times"),
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
                "on both nodes".to_owned()
            } else {
                format!("on this node only{slow}")
            };
            Some(format!(
                "flow forwarding {theirs}  {sent} packets sent to {name}{deaths}"
            ))
        }
        state => Some(format!(
            "flow forwarding {state}: {}{slow}{deaths}",
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
        let mut lb2 = PeerStatus {
            name: "lb2".to_owned(),
            silent_takeover: "auto".to_owned(),
            ..PeerStatus::default()
        };
        let said = line(&forwarding, &lb2);
        let expected = "flow forwarding on both nodes  34 packets sent to lb2";
        assert_eq!(said.as_deref(), Some(expected));
        forwarding.peer_forwards = false;
        let said = line(&forwarding, &lb2);
        let expected = "flow forwarding on this node only; adverts alone tell that lb2 is lost  34 packets sent to lb2";
        assert_eq!(said.as_deref(), Some(expected));
        forwarding.state = "refused".to_owned();
        forwarding.reason = "no CAP_BPF".to_owned();
        let said = line(&forwarding, &lb2);
        let expected = "flow forwarding refused: no CAP_BPF; adverts alone tell that lb2 is lost";
        assert_eq!(said.as_deref(), Some(expected));
        lb2.silent_takeover = "always".to_owned();
        let said = line(&forwarding, &lb2);
        assert_eq!(said.as_deref(), Some("flow forwarding refused: no CAP_BPF"));
        forwarding.state = "off".to_owned();
        assert_eq!(line(&forwarding, &lb2), None);
    }
}
