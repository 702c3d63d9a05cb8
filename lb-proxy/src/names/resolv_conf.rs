//! Whom /etc/resolv.conf says to ask. Pure.

use std::net::{IpAddr, SocketAddr};

/// As resolv.conf(5) has it.
const MOST: usize = 3;
const PORT: u16 = 53;

/// The name servers of a resolv.conf. Its search list and options are not ours: names are whole, and
/// the configuration says how long to wait.
pub(super) fn name_servers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address: IpAddr = words.next().filter(|_| is_server)?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    });
    servers.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_name_servers_are_taken_and_nothing_else() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 \n\
                    nameserver fe80::1%eth0\nnameserver 192.0.2.2\nnameserver 192.0.2.3\noptions ndots:5\n";
        let found: Vec<_> = name_servers(text)
            .iter()
            .map(SocketAddr::to_string)
            .collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert!(name_servers("").is_empty());
    }
}
