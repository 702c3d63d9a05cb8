//! What our unit for systemd leaves a service of its rights.

/// The file that is shipped.
const UNIT: &str = include_str!("../../../../configs/systemd/fmc-lb.service");

/// The words before a command that leave it the rights that the unit does: its bounding set, and no new ones.
pub fn confinement() -> Vec<String> {
    confinement_of(UNIT)
}

fn confinement_of(unit: &str) -> Vec<String> {
    let mut words = vec!["setpriv".to_owned()];
    if value(unit, "NoNewPrivileges").is_some_and(|value| value == "yes") {
        words.push("--no-new-privs".to_owned());
    }
    if let Some(set) = value(unit, "CapabilityBoundingSet") {
        let kept = set.split_whitespace().map(|capability| {
            let name = capability.trim_start_matches("CAP_").to_lowercase();
            format!(",+{name}")
        });
        words.push(format!("--bounding-set=-all{}", kept.collect::<String>()));
    }
    words.push("--".to_owned());
    words
}

/// Of a key that stands there once.
fn value<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = unit.lines();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_becomes_the_words_that_confine() {
        let unit = "[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_BPF\nNoNewPrivileges=yes\n";
        let words = [
            "setpriv",
            "--no-new-privs",
            "--bounding-set=-all,+net_admin,+bpf",
            "--",
        ];
        assert_eq!(confinement_of(unit), words);
        assert_eq!(confinement_of("[Service]\n"), ["setpriv", "--"]);
        assert!(confinement().len() == words.len(), "{:?}", confinement());
    }
}
