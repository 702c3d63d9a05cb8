//! What the DHCP servers of this machine may give out, as their files say it: dnsmasq, ISC dhcpd, Kea. A server elsewhere cannot
//! be asked for that: an offer is one address of many, and asking takes it from somebody.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A range of addresses that are given to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) file: PathBuf,
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
}

impl Pool {
    pub(crate) fn contains(&self, address: &IpAddr) -> bool {
        // Addresses of two families compare by family.
        let same = self.first.is_ipv4() == address.is_ipv4();
        same && (self.first..=self.last).contains(address)
    }
}

type Range = (IpAddr, IpAddr);
type Reader = fn(&str) -> Vec<Range>;

/// Those of the files below `etc`.
pub(crate) fn pools(etc: &Path) -> Vec<Pool> {
    let fixed: [(&str, Reader); 5] = [
        ("dnsmasq.conf", dnsmasq),
        ("dhcp/dhcpd.conf", dhcpd),
        ("dhcp/dhcpd6.conf", dhcpd),
        ("kea/kea-dhcp4.conf", kea),
        ("kea/kea-dhcp6.conf", kea),
    ];
    let mut files: Vec<(PathBuf, Reader)> = fixed
        .into_iter()
        .map(|(name, reader)| (etc.join(name), reader))
        .collect();
    let more = fs::read_dir(etc.join("dnsmasq.d")).into_iter().flatten();
    files.extend(
        more.flatten()
            .map(|entry| (entry.path(), dnsmasq as Reader)),
    );
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found = Vec::new();
    for (file, reader) in files {
        // One that is not there, or not for our eyes, tells nothing.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        found.extend(reader(&text).into_iter().map(|(first, last)| Pool {
            file: file.clone(),
            first,
            last,
        }));
    }
    found
}

/// `dhcp-range=[tag:…,]FIRST,LAST[,…]`; with a word in LAST's place it gives out nothing of its own (dnsmasq(8)).
fn dnsmasq(text: &str) -> Vec<Range> {
    let lines = text.lines().filter_map(|line| {
        let value = line.trim().strip_prefix("dhcp-range")?.trim_start();
        let value = value.strip_prefix('=')?;
        let mut words = value.split(',').map(str::trim);
        let first = words.find_map(|word| word.parse().ok())?;
        Some((first, words.next()?.parse().ok()?))
    });
    lines.collect()
}

/// `range [dynamic-bootp] FIRST [LAST];`, `range6 FIRST LAST;` and `range6 NETWORK;` (dhcpd.conf(5)).
fn dhcpd(text: &str) -> Vec<Range> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let statements = text.split([';', '{', '}']).filter_map(|statement| {
        let mut words = statement.split_whitespace();
        let is_range = matches!(words.next()?, "range" | "range6");
        let mut words = words.filter(|word| *word != "dynamic-bootp" && *word != "temporary");
        is_range.then(|| range(words.next()?, words.next()))?
    });
    statements.collect()
}

/// `"pool": "FIRST - LAST"` or a network. JSON, with comments.
fn kea(text: &str) -> Vec<Range> {
    let comment =
        |line: &&str| line.trim_start().starts_with("//") || line.trim_start().starts_with('#');
    let lines = text.lines().filter(|line| !comment(line));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let values = text.split("\"pool\"").skip(1).filter_map(|rest| {
        let value = rest.trim_start().strip_prefix(':')?.trim_start();
        let value = value.strip_prefix('"')?.split('"').next()?;
        match value.split_once('-') {
            Some((first, last)) => range(first.trim(), Some(last.trim())),
            None => range(value.trim(), None),
        }
    });
    values.collect()
}

/// Two addresses, one, or all of a network.
fn range(first: &str, last: Option<&str>) -> Option<Range> {
    if let Ok(network) = first.parse::<ipnet::IpNet>() {
        return Some((network.network(), network.broadcast()));
    }
    let first = first.parse().ok()?;
    Some((first, last.map_or(Some(first), |last| last.parse().ok())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ranges: Vec<Range>) -> Vec<String> {
        let words = ranges.iter().map(|(first, last)| format!("{first} {last}"));
        words.collect()
    }

    #[test]
    fn ranges_of_dnsmasq_are_read() {
        let text = "#dhcp-range=10.0.0.1,10.0.0.9\ndhcp-range=tag:lan,192.168.0.10,192.168.0.99,255.255.255.0,12h\n\
                    dhcp-range = fd00::10, fd00::ff\ndhcp-range=192.168.0.0,static\ndhcp-option=3,192.168.0.1\n";
        let expected = ["192.168.0.10 192.168.0.99", "fd00::10 fd00::ff"];
        assert_eq!(said(dnsmasq(text)), expected);
    }

    #[test]
    fn ranges_of_dhcpd_are_read() {
        let text = "subnet 10.0.0.0 netmask 255.255.255.0 { # range 10.0.0.1 10.0.0.2;\n  range dynamic-bootp\n 10.0.0.5 10.0.0.7;\n\
                    range 10.0.0.9; }\nsubnet6 fd00::/64 { range6 fd00:0:0:1::/64; }\n";
        let expected = [
            "10.0.0.5 10.0.0.7",
            "10.0.0.9 10.0.0.9",
            "fd00:0:0:1:: fd00::1:ffff:ffff:ffff:ffff",
        ];
        assert_eq!(said(dhcpd(text)), expected);
    }

    #[test]
    fn pools_of_kea_are_read() {
        let text = "{ \"subnet4\": [ {\n// \"pool\": \"10.9.0.1 - 10.9.0.2\"\n\"pools\": [ { \"pool\": \"10.0.0.1 - 10.0.0.20\" },\n\
                    { \"pool\" : \"10.0.1.0/24\" } ] } ] }";
        let expected = ["10.0.0.1 10.0.0.20", "10.0.1.0 10.0.1.255"];
        assert_eq!(said(kea(text)), expected);
    }

    #[test]
    fn the_files_of_every_server_are_read() {
        let etc = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = etc.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        };
        assert!(pools(etc.path()).is_empty());
        write("dnsmasq.d/lan.conf", "dhcp-range=10.0.0.1,10.0.0.9,1h\n");
        write("kea/kea-dhcp4.conf", "{\"pool\": \"10.1.0.1 - 10.1.0.9\"}");
        write("dhcp/dhcpd.conf", "range 10.2.0.1 10.2.0.9;");
        let found = pools(etc.path());
        let names: Vec<String> = found
            .iter()
            .map(|pool| pool.file.display().to_string())
            .collect();
        assert!(names[0].ends_with("dhcp/dhcpd.conf"), "{names:?}");
        assert!(names[1].ends_with("dnsmasq.d/lan.conf"), "{names:?}");
        assert!(names[2].ends_with("kea/kea-dhcp4.conf"), "{names:?}");
        let inside = |address: &str| {
            let address = address.parse().expect("an address");
            found.iter().any(|pool| pool.contains(&address))
        };
        assert!(inside("10.0.0.1") && inside("10.1.0.9") && inside("10.2.0.5"));
        assert!(!inside("10.0.0.10") && !inside("10.1.0.0") && !inside("::1"));
    }
}
