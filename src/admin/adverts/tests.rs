use super::*;
use crate::admin::fixture::{self, ago};

fn healthy() -> View {
    fixture::healthy()
}

fn of_lb2(view: &View, channel: Channel) -> Vec<String> {
    of_peer(view, ("lb2", channel), VipIndex(0), fixture::CLOCKS.now)
}

#[test]
fn par_64_adverts_of_another_active_are_a_warning_without_a_pair_channel_too() {
    let view = healthy();
    let slot = &view.boards.vrrp.vips[0];
    slot.since.set(ago(5_000));
    slot.peer_priority.set(240);
    let wanted = "VIP api: both nodes are active: this one hears adverts of lb2, which does not seem to hear its own";
    let warns = || of_lb2(&view, Channel::Silent) == [wanted];
    slot.advert_heard.set(ago(250));
    assert!(warns());
    // The last one of a node that gave way, and one that says so.
    slot.advert_heard.set(ago(4_990));
    assert!(!warns());
    slot.advert_heard.set(ago(250));
    slot.peer_priority.set(0);
    assert!(!warns());
    slot.peer_priority.set(240);
    slot.state.set(VipState::Backup.on_board());
    assert!(!warns());
}

#[test]
fn adverts_that_a_firewall_drops_are_told_from_lost_ones() {
    let view = healthy();
    let board = view.boards.vrrp;
    let (slot, wire) = (&board.vips[0], &board.wire[0]);
    slot.state.set(VipState::Backup.on_board());
    slot.advert_heard.set(ago(1_500));
    board.peer.vip_state[0].set(VipState::Active.on_board());
    let lost = "VIP api: lb2 is active and its heartbeats come, its adverts do not (1.5 s): is protocol 112 blocked?";
    assert_eq!(of_lb2(&view, Channel::On), [lost]);
    wire.reached_us_at.set(ago(180));
    wire.reached_host_at.set(ago(10));
    let dropped = "VIP api: adverts of lb2 are on the wire, but a firewall here drops them (180 ms): allow protocol \
                   112 in nftables or iptables, and look at rp_filter";
    for channel in [Channel::On, Channel::NoKey, Channel::Keepalived] {
        assert_eq!(of_lb2(&view, channel), [dropped]);
    }
    // The last one came to both.
    wire.reached_us_at.set(ago(10));
    assert_eq!(of_lb2(&view, Channel::NoKey), Vec::<String>::new());
    wire.reached_us_at.set(ago(9_000));
    wire.reached_host_at.set(ago(8_000));
    assert_eq!(of_lb2(&view, Channel::NoKey), Vec::<String>::new());
}

#[test]
fn what_adverts_tell_is_a_warning_for_a_minute() {
    let view = healthy();
    let wire = &view.boards.vrrp.wire[0];
    wire.source.set("192.168.0.66");
    let all = || {
        let mut found = of_others(&view, VipIndex(0), fixture::CLOCKS.now);
        found.extend(of_lb2(&view, Channel::NoKey));
        found
    };
    for (warning, words) in [
        (
            AdvertWarning::Stranger,
            "192.168.0.66 sends adverts for VRID 51 too",
        ),
        (
            AdvertWarning::AddrList,
            "name other addresses than 192.168.0.10",
        ),
        (
            AdvertWarning::ChecksumForm,
            "lb2 sums its adverts without the pseudo-header",
        ),
        (AdvertWarning::GroupChecksum, "remove old_unicast_checksum"),
        (
            AdvertWarning::Version,
            "adverts of lb2 are dropped, it speaks version 2 of VRRP, this node version 3",
        ),
        (AdvertWarning::Auth, "its authentication is another one"),
        (AdvertWarning::Interval, "its interval is another one than"),
    ] {
        let warned = &wire.warned[warning as usize];
        warned.set(ago(59_000));
        let found = all();
        assert!(
            matches!(&found[..], [one] if one.contains(words)),
            "{found:?}"
        );
        warned.set(ago(60_000));
        assert_eq!(all(), Vec::<String>::new());
    }
}

#[test]
fn a_drop_is_told_until_an_advert_is_heard() {
    let view = healthy();
    let board = view.boards.vrrp;
    board.wire[0].warned[AdvertWarning::Version as usize].set(ago(2_000));
    board.vips[0].advert_heard.set(ago(3_000));
    assert_eq!(of_lb2(&view, Channel::NoKey).len(), 1);
    board.vips[0].advert_heard.set(ago(1_000));
    assert_eq!(of_lb2(&view, Channel::NoKey), Vec::<String>::new());
}
