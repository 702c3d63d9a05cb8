//! Which node of the file this machine is.

use std::net::IpAddr;

use thiserror::Error;

use super::nearest::{list, nearest};
use super::{Config, NodeIndex, Runs};

/// What is known of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// As `uname -n` prints it.
    pub host_name: String,
    /// Of all its interfaces.
    pub addresses: Vec<IpAddr>,
}

/// Why it is not known which node this is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeError {
    #[error("there is no node `{wanted}` in the file; its nodes are {names}")]
    Unknown { wanted: String, names: String },
    #[error("node `{name}` runs keepalived in the file, so fmc-lb cannot run as it")]
    RunsKeepalived { name: String },
    #[error(
        "this machine is no node of the file: its host name is `{host_name}` and it has no address of {names}; \
         say --node NAME"
    )]
    NotFound { host_name: String, names: String },
    #[error("this machine has the addresses of nodes {names}; say --node NAME")]
    Several { names: String },
    #[error(
        "this machine is called `{by_name}` and has the address of node `{by_address}`; say --node NAME"
    )]
    Contradiction { by_name: String, by_address: String },
}

/// What a machine can be told by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// `None` = what the file says is wrong.
    pub(super) address: Option<IpAddr>,
    pub(super) runs: Runs,
}

impl Config {
    /// The node that `wanted` names; without it the node whose name is this machine's host name (or
    /// its first label), or whose address this machine has.
    ///
    /// # Errors
    /// No node or more than one fits, or the node runs Keepalived.
    pub fn node_of(&self, wanted: Option<&str>, machine: &Machine) -> Result<NodeIndex, NodeError> {
        let candidates: Vec<Candidate<'_>> = self
            .nodes
            .iter()
            .map(|node| Candidate {
                name: &node.name,
                address: Some(node.address),
                runs: node.runs,
            })
            .collect();
        find(&candidates, wanted, machine)
    }
}

/// The same of nodes that are not known to be valid.
pub(super) fn find(
    nodes: &[Candidate<'_>],
    wanted: Option<&str>,
    machine: &Machine,
) -> Result<NodeIndex, NodeError> {
    let index = match wanted {
        Some(wanted) => named(nodes, wanted)?,
        None => found(nodes, machine)?,
    };
    let node = nodes[index];
    if node.runs == Runs::Keepalived {
        return Err(NodeError::RunsKeepalived {
            name: node.name.to_owned(),
        });
    }
    Ok(NodeIndex(index))
}

fn named(nodes: &[Candidate<'_>], wanted: &str) -> Result<usize, NodeError> {
    let names = || nodes.iter().map(|node| node.name);
    names()
        .position(|name| name == wanted)
        .ok_or_else(|| NodeError::Unknown {
            wanted: wanted.to_owned(),
            names: match nearest(wanted, names()) {
                Some(near) => format!("{} (did you mean `{near}`?)", list(names())),
                None => list(names()),
            },
        })
}

fn found(nodes: &[Candidate<'_>], machine: &Machine) -> Result<usize, NodeError> {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let same_name = |node: &Candidate<'_>| {
        node.name.eq_ignore_ascii_case(&machine.host_name)
            || node.name.eq_ignore_ascii_case(&label(&machine.host_name))
    };
    let by_name = nodes.iter().position(same_name);
    let by_address: Vec<usize> = (0..nodes.len())
        .filter(|index| {
            let address = nodes[*index].address;
            address.is_some_and(|address| machine.addresses.contains(&address))
        })
        .collect();
    let name = |index: usize| nodes[index].name.to_owned();
    match (by_name, by_address.as_slice()) {
        (Some(index), []) => Ok(index),
        (None, [index]) => Ok(*index),
        (Some(index), addresses) if addresses.contains(&index) => Ok(index),
        (Some(index), [other, ..]) => Err(NodeError::Contradiction {
            by_name: name(index),
            by_address: name(*other),
        }),
        (None, []) => Err(NodeError::NotFound {
            host_name: machine.host_name.clone(),
            names: list(nodes.iter().map(|node| node.name)),
        }),
        (None, several) => Err(NodeError::Several {
            names: list(several.iter().map(|index| nodes[*index].name)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Viewpoint, Who};

    fn pair() -> Config {
        let text = r#"
            [nodes.lb1]
            address = "192.168.0.11"
            priority = 250
            [nodes.lb2]
            address = "192.168.0.12"
            priority = 240
            [pair]
            interface = "eth0"
            [vips.api]
            address = "192.168.0.10/24"
            vrid = 51
        "#;
        Config::from_running(text).expect("the text is a valid configuration")
    }

    fn machine(host_name: &str, addresses: &[&str]) -> Machine {
        Machine {
            host_name: host_name.to_owned(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_machine_is_found_by_name_or_address() {
        let config = pair();
        let found =
            |host: &str, addresses: &[&str]| config.node_of(None, &machine(host, addresses));
        assert_eq!(found("lb2", &[]), Ok(NodeIndex(1)));
        assert_eq!(found("LB2.example.net", &["10.0.0.1"]), Ok(NodeIndex(1)));
        assert_eq!(
            found("box", &["10.0.0.1", "192.168.0.11"]),
            Ok(NodeIndex(0))
        );
        let both = ["192.168.0.11", "192.168.0.12"];
        assert_eq!(found("lb1", &both), Ok(NodeIndex(0)));
        assert!(matches!(
            found("box", &both),
            Err(NodeError::Several { .. })
        ));
        assert!(matches!(
            found("box", &["::1"]),
            Err(NodeError::NotFound { .. })
        ));
        assert!(matches!(
            found("lb1", &["192.168.0.12"]),
            Err(NodeError::Contradiction { .. })
        ));
    }

    #[test]
    fn a_wrong_name_lists_the_right_ones() {
        let error = pair()
            .node_of(Some("lb3"), &machine("lb1", &[]))
            .expect_err("there is no lb3");
        assert!(error.to_string().contains("lb1 and lb2"), "{error}");
    }

    #[test]
    fn who_this_is_is_judged_with_the_other_errors() {
        let says = |text: &str, wanted, machine: &Machine| {
            let who = Who::Node { wanted, machine };
            let whose = Viewpoint {
                who,
                files: None,
                capacity: None,
            };
            Config::parse("x.toml", text, whose)
                .expect_err("an invalid file")
                .to_string()
        };
        let text = "[nodes.lb1]\naddress = \"192.168.0.11\"\n[colours]\n";
        let other = machine("box", &["10.0.0.1"]);
        let both = says(text, Some("lb9"), &other);
        assert!(both.contains("unknown section `colours`"), "{both}");
        assert!(
            both.contains("there is no node `lb9` in the file"),
            "{both}"
        );
        let both = says(text, None, &other);
        assert!(
            both.contains("this machine is no node of the file"),
            "{both}"
        );
        // An address that is wrong may be this machine's: that it is found by none says nothing.
        let hole = says("[nodes.lb1]\naddress = 7\n[colours]\n", None, &other);
        assert!(!hole.contains("this machine"), "{hole}");
        let none = says("[colours]\n", Some("lb9"), &other);
        assert!(!none.contains("lb9"), "{none}");
    }
}
