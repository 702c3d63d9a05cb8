//! Configurations of the reference topology.

use std::path::Path;
use std::time::Duration;

use crate::balancer::Settings;
use crate::topology::WEB_VIP_V6;

/// Shorter advert intervals must be allowed by name.
const FAST: Duration = Duration::from_millis(100);
/// Interval of the pair channel's heartbeats, unless adverts are more frequent.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// The configuration of the reference topology, with these settings.
pub fn reference_config(settings: &Settings) -> String {
    let (first, second) = settings.priorities;
    let advert = format!("{}ms", settings.advert.as_millis());
    // Heartbeats keep up with fast adverts: the active-down interval is never below three of them.
    let heartbeat = settings.advert.min(HEARTBEAT).as_millis();
    let fast = settings.advert < FAST;
    format!(
        r#"[nodes.lb1]
address  = "192.168.0.11"
priority = {first}
[nodes.lb2]
address  = "192.168.0.12"
priority = {second}

[pair]
interface = "eth0"
key_file  = "pair.key"
heartbeat = "{heartbeat}ms"

[vrrp]
allow_fast      = {fast}
advert_interval = "{advert}"

[vips.api]
address = "192.168.0.10/24"
vrid    = 51
[vips.web]
address = "192.168.0.14/24"
vrid    = 52

[listeners.api]
bind    = ["vips.api:6443"]
backend = "k3s-api"
[listeners.http]
bind    = ["vips.web:80"]
backend = "traefik-http"
[listeners.https]
bind    = ["vips.web:443"]
backend = "traefik-https"

[backends.k3s-api]
servers = ["10.17.4.21:6443", "10.17.4.22:6443", "10.17.4.23:6443"]
balance = "round-robin"
probe   = {{ kind = "kube-apiserver", interval = "1s" }}
[backends.traefik-http]
servers = ["10.17.4.24:80", "10.17.4.25:80", "10.17.4.26:80"]
balance = "round-robin"
[backends.traefik-https]
servers = ["10.17.4.24:443", "10.17.4.25:443", "10.17.4.26:443"]
balance = "round-robin"

[admin]
http  = "node:9600"
allow = ["127.0.0.0/8", "192.168.0.0/24"]
"#
    )
}

/// The text with the web VIP over IPv6, too.
pub fn with_web6(config: &str) -> String {
    format!(
        "{config}\n[vips.web6]\naddress = \"{WEB_VIP_V6}/64\"\nvrid = 53\n\n\
         [listeners.http6]\nbind = [\"vips.web6:80\"]\nbackend = \"traefik-http\"\n"
    )
}

/// The text without a pair channel, and what needs one: plain VRRP.
pub fn plain(config: &str) -> String {
    let of_channel = |line: &&str| line.starts_with("key_file") || line.starts_with("heartbeat");
    let lines = config.lines().filter(|line| !of_channel(line));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Whether a `key_file` line names a key.
pub(super) fn has_key(config: &str) -> bool {
    let mut lines = config.lines();
    lines.any(|line| line.trim_start().starts_with("key_file"))
}

/// The text with every `key_file` line naming this key.
pub(super) fn with_key_file(config: &str, key: &Path) -> String {
    let lines = config.lines().map(|line| {
        if line.trim_start().starts_with("key_file") {
            format!("key_file = \"{}\"\n", key.display())
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_is_replaced_whatever_it_was() {
        let text = "[pair]\nkey_file  = \"/etc/x\"   # why\nheartbeat = \"20ms\"\n";
        let changed = with_key_file(text, Path::new("/run/k"));
        assert_eq!(
            changed,
            "[pair]\nkey_file = \"/run/k\"\nheartbeat = \"20ms\"\n"
        );
    }
}
