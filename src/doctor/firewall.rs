//! Whether nftables lets in what the nodes have to hear of each other. Pure, and no more than a guess: a rule may let it in
//! in ways that are not looked for. So a chain that drops by default is bad only if no rule anywhere names the protocol.

use serde_json::Value;

use super::{Finding, Verdict};

/// What has to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// "adverts (IP protocol 112)"
    pub(crate) what: String,
    pub(crate) how: How,
    /// A command that lets it in.
    pub(crate) remedy: String,
}

/// How a rule names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// VRRP, by number or by name.
    Vrrp,
    /// A UDP or TCP port.
    Port(u16),
}

/// What stands in a ruleset as `nft -j list ruleset` prints it.
pub(crate) fn findings(ruleset: &str, wanted: &[Wanted]) -> Vec<Finding> {
    let Ok(parsed) = serde_json::from_str::<Value>(ruleset) else {
        return vec![Finding::new(
            Verdict::Unknown,
            "the firewall: nft printed what is no JSON",
            "look at `nft list ruleset`",
        )];
    };
    let objects = parsed["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let closed: Vec<String> = objects
        .iter()
        .filter_map(|object| object.get("chain"))
        .filter(|chain| chain["hook"] == "input" && chain["policy"] == "drop")
        .map(|chain| {
            let word = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("family"), word("table"), word("name"))
        })
        .collect();
    let refusing = objects.iter().filter_map(|object| object.get("rule"));
    let rules: Vec<&Value> = refusing.map(|rule| &rule["expr"]).collect();
    // firewalld's chains accept by default and end with a rule that rejects everything.
    let rejects = rules.iter().any(|expr| is_refusal_of_all(expr));
    if closed.is_empty() && !rejects {
        return vec![Finding::good("the firewall drops nothing by default")];
    }
    let closed = match closed.first() {
        Some(chain) => format!("nftables chain {chain} drops by default"),
        None => "an nftables rule refuses what no rule before it accepts".to_owned(),
    };
    wanted
        .iter()
        .map(|wanted| {
            if rules.iter().any(|expr| names(expr, wanted.how)) {
                return Finding::good(format!("a firewall rule names {}", wanted.what));
            }
            let what = format!("{closed}, and no rule names {}", wanted.what);
            Finding::new(Verdict::Bad, what, wanted.remedy.as_str())
        })
        .collect()
}

/// A rule without any condition that rejects or drops.
fn is_refusal_of_all(expr: &Value) -> bool {
    let Some(parts) = expr.as_array() else {
        return false;
    };
    let refuses = |part: &Value| part.get("reject").is_some() || part.get("drop").is_some();
    let conditional = |part: &Value| part.get("match").is_some() || part.get("vmap").is_some();
    parts.iter().any(refuses) && !parts.iter().any(conditional)
}

/// Whether a condition of the rule has it on its right side.
fn names(expr: &Value, how: How) -> bool {
    let parts = expr.as_array().map_or(&[][..], Vec::as_slice);
    let mut conditions = parts.iter().filter_map(|part| part.get("match"));
    conditions.any(|condition| {
        let left = condition["left"].to_string();
        let about = match how {
            How::Vrrp => {
                left.contains("protocol") || left.contains("l4proto") || left.contains("nexthdr")
            }
            How::Port(_) => left.contains("dport"),
        };
        about && has(&condition["right"], how)
    })
}

/// A value, a set of values, or a range of them.
fn has(right: &Value, how: How) -> bool {
    match (right, how) {
        (Value::String(word), How::Vrrp) => word == "vrrp",
        (Value::Number(number), How::Vrrp) => number.as_u64() == Some(112),
        (Value::Number(number), How::Port(port)) => number.as_u64() == Some(u64::from(port)),
        (Value::Object(object), _) => match (object.get("set"), object.get("range")) {
            (Some(Value::Array(all)), _) => all.iter().any(|one| has(one, how)),
            (_, Some(Value::Array(ends))) => match (ends.as_slice(), how) {
                ([from, to], How::Port(port)) => {
                    let (from, to) = (from.as_u64(), to.as_u64());
                    let range = from.zip(to).map(|(from, to)| from..=to);
                    range.is_some_and(|range| range.contains(&u64::from(port)))
                }
                _ => false,
            },
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> [Wanted; 2] {
        [
            Wanted {
                what: "adverts".to_owned(),
                how: How::Vrrp,
                remedy: "let them in".to_owned(),
            },
            Wanted {
                what: "UDP port 9601".to_owned(),
                how: How::Port(9601),
                remedy: "let it in".to_owned(),
            },
        ]
    }

    fn verdicts(objects: &str) -> Vec<Verdict> {
        let text = format!("{{\"nftables\": [{{\"metainfo\": {{}}}}{objects}]}}");
        let findings = findings(&text, &wanted());
        findings.iter().map(|one| one.verdict).collect()
    }

    const DROPS: &str = r#", {"chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": "drop"}}"#;

    fn rule(expr: &str) -> String {
        format!(", {{\"rule\": {{\"expr\": [{expr}]}}}}")
    }

    fn condition(field: &str, right: &str) -> String {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "ip", "field": "{field}"}}}}, "right": {right}}}}}, {{"accept": null}}"#
        )
    }

    #[test]
    fn an_open_firewall_is_good() {
        assert_eq!(verdicts(""), [Verdict::Good]);
        let accepts = DROPS.replace("drop", "accept");
        assert_eq!(verdicts(&accepts), [Verdict::Good]);
    }

    #[test]
    fn a_chain_that_drops_wants_a_rule_for_each() {
        assert_eq!(verdicts(DROPS), [Verdict::Bad, Verdict::Bad]);
        let adverts = DROPS.to_owned() + &rule(&condition("protocol", "\"vrrp\""));
        assert_eq!(verdicts(&adverts), [Verdict::Good, Verdict::Bad]);
        let number = DROPS.to_owned() + &rule(&condition("protocol", "112"));
        assert_eq!(verdicts(&number), [Verdict::Good, Verdict::Bad]);
        let set = DROPS.to_owned() + &rule(&condition("dport", r#"{"set": [22, 9601]}"#));
        assert_eq!(verdicts(&set), [Verdict::Bad, Verdict::Good]);
        let range = DROPS.to_owned() + &rule(&condition("dport", r#"{"range": [9600, 9610]}"#));
        assert_eq!(verdicts(&range), [Verdict::Bad, Verdict::Good]);
        let other = DROPS.to_owned() + &rule(&condition("sport", "9601"));
        assert_eq!(verdicts(&other), [Verdict::Bad, Verdict::Bad]);
    }

    #[test]
    fn a_last_rule_that_refuses_everything_closes_a_chain_too() {
        let last = rule(r#"{"counter": {}}, {"reject": {"type": "icmpx"}}"#);
        assert_eq!(verdicts(&last), [Verdict::Bad, Verdict::Bad]);
        let conditional = rule(&(condition("saddr", "\"10.0.0.1\"") + r#", {"drop": null}"#));
        assert_eq!(verdicts(&conditional), [Verdict::Good]);
    }

    #[test]
    fn what_is_no_json_is_said() {
        assert_eq!(findings("Error", &wanted())[0].verdict, Verdict::Unknown);
    }
}
