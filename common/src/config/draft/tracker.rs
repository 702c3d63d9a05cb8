//! Trackers while they are checked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{VipDraft, small};
use crate::config::diagnostic::Findings;
use crate::config::nearest::remedy_for_name;
use crate::config::value::{At, Values};
use crate::config::{Tracker, TrackerEffect, TrackerKind, VipIndex};

/// Bad looks in a row where the file does not say how many.
const FALL: u32 = 3;
/// The kernel's word needs no second one.
const FALL_OF_INTERFACE: u32 = 1;

#[derive(Debug)]
pub(in crate::config) struct TrackerDraft {
    pub(in crate::config) name: At<String>,
    pub(in crate::config) kind: Option<At<&'static str>>,
    pub(in crate::config) interface: Option<At<String>>,
    pub(in crate::config) address: Option<At<IpAddr>>,
    pub(in crate::config) path: Option<At<PathBuf>>,
    pub(in crate::config) process: Option<At<String>>,
    pub(in crate::config) program: Option<At<PathBuf>>,
    pub(in crate::config) arguments: Option<At<Vec<At<String>>>>,
    pub(in crate::config) min_share: Option<At<u64>>,
    pub(in crate::config) interval: Option<At<Duration>>,
    pub(in crate::config) timeout: Option<At<Duration>>,
    pub(in crate::config) rise: Option<u32>,
    pub(in crate::config) fall: Option<u32>,
    /// What it takes from the priority; `None` = fault.
    pub(in crate::config) weight: Option<At<u64>>,
    /// Places of the VIPs that it names; `None` = it names none, so it concerns all.
    pub(in crate::config) vips: Option<At<Vec<At<usize>>>>,
    /// The keys that the file names.
    pub(in crate::config) given: Vec<At<&'static str>>,
}

impl TrackerDraft {
    pub(super) fn of(
        name: &At<String>,
        values: &Values,
        vips: &[VipDraft],
        findings: &mut Findings,
    ) -> Self {
        Self {
            name: name.clone(),
            kind: values.get("kind"),
            interface: values.get("interface"),
            address: values.get("address"),
            path: values.get("path"),
            process: values.get("process"),
            program: values.get("program"),
            arguments: values.list("arguments"),
            min_share: values.get("min_share"),
            interval: values.get("interval"),
            timeout: values.get("timeout"),
            rise: values.get("rise").and_then(small),
            fall: values.get("fall").and_then(small),
            weight: values.get("weight"),
            vips: concerned(values, vips, findings),
            given: values
                .entries
                .iter()
                .filter(|(_, value)| value.given)
                .map(|(key, value)| value.with(key.name))
                .collect(),
        }
    }

    pub(in crate::config) fn is(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|at| at.value == kind)
    }

    /// Places of the VIPs that it concerns, out of so many.
    pub(in crate::config) fn concerns(&self, vips: usize) -> Vec<usize> {
        match &self.vips {
            Some(named) => named.value.iter().map(|place| place.value).collect(),
            None => (0..vips).collect(),
        }
    }

    /// The validated tracker; `None` if something was wrong.
    pub(in crate::config) fn build(
        &self,
        pair_interface: Option<&At<String>>,
        vips: usize,
    ) -> Option<Tracker> {
        let interval = self.interval.as_ref()?.value;
        let is_interface = self.is("interface");
        Some(Tracker {
            name: self.name.value.clone(),
            retired: false,
            kind: self.build_kind(pair_interface)?,
            interval,
            timeout: self.timeout.as_ref().map_or(interval, |at| at.value),
            rise: self.rise?,
            fall: match self.fall {
                Some(fall) => fall,
                None if is_interface => FALL_OF_INTERFACE,
                None => FALL,
            },
            effect: match &self.weight {
                Some(weight) => TrackerEffect::Lower(u8::try_from(weight.value).ok()?),
                None => TrackerEffect::Fault,
            },
            vips: self.concerns(vips).into_iter().map(VipIndex).collect(),
        })
    }

    fn build_kind(&self, pair_interface: Option<&At<String>>) -> Option<TrackerKind> {
        let interface = self.interface.as_ref();
        Some(match self.kind.as_ref()?.value {
            "interface" => TrackerKind::Interface {
                interface: interface?.value.clone(),
            },
            "gateway" => TrackerKind::Gateway {
                address: self.address.as_ref()?.value,
                interface: interface.or(pair_interface)?.value.clone(),
            },
            "file" => TrackerKind::File {
                path: self.path.as_ref()?.value.clone(),
            },
            "process" => TrackerKind::Process {
                process: self.process.as_ref()?.value.clone(),
            },
            "script" => TrackerKind::Script {
                program: self.program.as_ref()?.value.clone(),
                arguments: self.arguments.as_ref().map_or_else(Vec::new, |list| {
                    list.value.iter().map(|one| one.value.clone()).collect()
                }),
            },
            _ => TrackerKind::Servers {
                min_share: u8::try_from(self.min_share.as_ref()?.value).ok()?,
            },
        })
    }
}

fn concerned(
    values: &Values,
    vips: &[VipDraft],
    findings: &mut Findings,
) -> Option<At<Vec<At<usize>>>> {
    let named = values.list::<String>("vips")?;
    let mut places: Vec<At<usize>> = Vec::new();
    for name in &named.value {
        let place = vips.iter().position(|vip| vip.name.value == name.value);
        match place {
            Some(place) if places.iter().any(|at| at.value == place) => findings.error(
                name.span,
                format!("VIP `{}` is named twice", name.value),
                "remove one of the two",
            ),
            Some(place) => places.push(name.with(place)),
            None => {
                let names = vips.iter().map(|vip| vip.name.value.as_str());
                findings.error(
                    name.span,
                    format!("there is no VIP `{}`", name.value),
                    remedy_for_name("VIPs", &name.value, names),
                );
            }
        }
    }
    Some(named.with(places))
}
