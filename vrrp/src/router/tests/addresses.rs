//! Whose address is whose: the tie-break, and what is learned from heartbeats.

use std::net::Ipv6Addr;

use super::*;

const fn link_local(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, last))
}

fn over_ipv6() -> Params {
    Params {
        own: link_local(0x11),
        ..params()
    }
}

fn equal_from(source: IpAddr) -> Heard {
    Heard {
        source,
        ..advert(100, SECOND)
    }
}

#[test]
fn fsm_26_over_ipv6_the_higher_link_local_address_wins_between_equals() {
    for (other, state) in [
        (link_local(0x12), VipState::Backup),
        (link_local(0x10), VipState::Active),
        // By bytes in network order, not by how they are written.
        (link_local(0x0100), VipState::Backup),
    ] {
        let mut bench = Bench::active(over_ipv6());
        bench.hear(equal_from(other), SECOND);
        assert_eq!(bench.state(), state, "{other}");
    }
}

#[test]
fn the_tie_break_goes_by_the_address_that_the_interface_has_now() {
    let mut bench = Bench::active(over_ipv6());
    bench.router.handle_own_address(link_local(0x99));
    bench.hear(equal_from(link_local(0x12)), SECOND);
    assert_eq!(bench.state(), VipState::Active);
}

#[test]
fn fsm_20_a_heartbeat_tells_whose_resignation_needs_no_skew_time() {
    let resign = |source| Heard {
        source,
        ..advert(0, ms(1200))
    };
    for (from, skew) in [
        (link_local(0x12), Duration::ZERO),
        // Somebody else's.
        (link_local(0x13), ms(1000) * 156 / 256),
    ] {
        let mut bench = Bench::started(over_ipv6());
        bench.perform(Duration::ZERO);
        let heartbeat = Heard {
            source: link_local(0x12),
            via: Via::Heartbeat,
            ..advert(110, SECOND)
        };
        bench.hear(heartbeat, SECOND);
        bench.router.handle_heard(resign(from), at(ms(1201)));
        assert_eq!(bench.due(), ms(1200) + skew, "{from}");
    }
}
