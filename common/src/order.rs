//! What a node can be told about its VIPs: the words of the command line and the admin socket. The answer is a
//! [`crate::command::Reply`].

use serde::{Deserialize, Serialize};

/// An order, by its word in `command`; unknown fields are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Order {
    /// The other node is to take VIPs over from this one.
    Handover {
        /// By name; none = all for which this node is active.
        #[serde(default)]
        vips: Vec<String>,
        /// Also where it may go badly.
        #[serde(default)]
        force: bool,
    },
    /// The node gives its VIPs away, and takes them only for want of another node.
    MaintenanceOn {
        /// Milliseconds until it ends by itself; `None` = it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
        /// Also where the other node cannot take the VIPs: it gets them when it can.
        #[serde(default)]
        force: bool,
    },
    MaintenanceOff,
    /// Both nodes are to run by what their configuration files say now, if both say the same.
    Apply {
        /// Only say what would change, and whether it can.
        #[serde(default)]
        dry_run: bool,
    },
}

impl Order {
    /// The words of all orders.
    pub const WORDS: &[&str] = &["handover", "maintenance-on", "maintenance-off", "apply"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_as_it_was_said_under_its_word() {
        let orders = [
            Order::Handover {
                vips: vec!["api".to_owned()],
                force: true,
            },
            Order::MaintenanceOn {
                for_ms: Some(5),
                force: false,
            },
            Order::MaintenanceOff,
            Order::Apply { dry_run: true },
        ];
        for (order, word) in orders.into_iter().zip(Order::WORDS) {
            let text = serde_json::to_string(&order).expect("JSON");
            assert!(text.contains(&format!("\"command\":\"{word}\"")), "{text}");
            assert_eq!(serde_json::from_str::<Order>(&text).ok(), Some(order));
        }
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_are_the_careful_choice() {
        let text = r#"{"version":2,"command":"handover","why":"x"}"#;
        let order: Order = serde_json::from_str(text).expect("an order");
        let careful = Order::Handover {
            vips: Vec::new(),
            force: false,
        };
        assert_eq!(order, careful);
    }
}
