//! The keys of the trackers.

use std::time::Duration;

use super::HOUR;
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};

const TIME: DurationRange = DurationRange::new(Duration::from_millis(100), HOUR);
const LOOKS: IntegerRange = IntegerRange::new(1, 100);

pub(in crate::config) const TRACKERS: Section = Section {
    name: "trackers",
    shape: Shape::Named,
    doc: "Something beside servers and the VIPs' own interfaces that says whether a node should hold VIPs. Each node looks \
          for itself. While a tracker is down its VIPs are in fault there, or the node's priority for them is lower. With \
          the pair channel a node in trouble gives a VIP up only to one that is in less: if both are, the VIP stays \
          where it is. So it waits first for as long as the other node may need to find the same: an interval, and \
          the timeout of a script, nothing for an interface. Without the channel it is in fault whatever the other is. What admin looks at (file, process, \
          script) keeps its last verdict while admin is dead.",
    example: r#"[trackers.uplink]
kind = "gateway"
address = "192.168.0.1"
weight = -20

[trackers.maintenance]
kind = "file"
path = "/run/fmc-lb/maintenance""#,
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Choice(Choice {
                values: &[
                    "interface",
                    "gateway",
                    "file",
                    "process",
                    "script",
                    "servers",
                ],
                later: &[],
            }),
            default: Default::Required,
            doc: "What is looked at. \"interface\": one that carries no VIP is there, switched on and has a carrier; \
                  \"gateway\": somebody answers ARP, or neighbour discovery; \"file\": a file says 0, nothing, or is not there (Keepalived's \
                  track_file); \"process\": one of that name runs; \"script\": a program ends with 0, run by the admin \
                  process without any right; \"servers\": so many of the servers behind the VIP are usable",
        },
        Key {
            name: "interface",
            kind: Kind::Text(Form::Interface),
            default: Default::Unset("the pair's, for kind \"gateway\""),
            doc: "The interface itself, or the one on which a gateway is asked",
        },
        Key {
            name: "address",
            kind: Kind::Text(Form::Neighbour),
            default: Default::Unset("none; kind \"gateway\" needs it"),
            doc: "The gateway's address, IPv4 or IPv6; also a link-local one",
        },
        Key {
            name: "path",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("none; kind \"file\" needs it"),
            doc: "A text file that the admin process may read; its first 64 bytes count",
        },
        Key {
            name: "process",
            kind: Kind::Text(Form::Text),
            default: Default::Unset("none; kind \"process\" needs it"),
            doc: "Name of a process: of its program without the folder, or as ps(1) shows it",
        },
        Key {
            name: "program",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("none; kind \"script\" needs it"),
            doc: "What is run. Its environment is PATH, FMC_LB_NODE, FMC_LB_TRACKER and FMC_LB_TIMEOUT_MS; the first line \
                  that it writes is shown in status",
        },
        Key {
            name: "arguments",
            kind: Kind::List(&Kind::Text(Form::Text)),
            default: Default::Unset("none"),
            doc: "Arguments of the program, as they are written here",
        },
        Key {
            name: "min_share",
            kind: Kind::Integer(IntegerRange::new(1, 100)),
            default: Default::Unset("none; kind \"servers\" needs it"),
            doc: "Percent of the servers of each required listener that have to be usable (weights of 0 do not count)",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(TIME),
            default: Default::Toml("\"1s\""),
            doc: "Time between the starts of two looks; an interface is looked at also when the kernel tells of a change",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(TIME),
            default: Default::Unset("the interval"),
            doc: "A look of kind \"file\", \"process\" or \"script\" that takes longer is bad; a script is killed then",
        },
        Key {
            name: "rise",
            kind: Kind::Integer(LOOKS),
            default: Default::Toml("2"),
            doc: "Good looks in a row after which it is up. The first look of all decides by itself",
        },
        Key {
            name: "fall",
            kind: Kind::Integer(LOOKS),
            default: Default::Unset("3, for an interface 1"),
            doc: "Bad looks in a row after which it is down",
        },
        Key {
            name: "weight",
            kind: Kind::Lowering(IntegerRange::new(1, 253)),
            default: Default::Unset("the VIPs are in fault"),
            doc: "What is added to the node's priority while the tracker is down; priorities never fall below 1. `check` \
                  refuses one that could never move a VIP. The other node takes over at once, whatever its preempt_delay",
        },
        Key {
            name: "vips",
            kind: Kind::List(&Kind::Text(Form::Name)),
            default: Default::Unset("all"),
            doc: "Names of the VIPs that it concerns. With together = true one of them concerns all",
        },
    ],
};
