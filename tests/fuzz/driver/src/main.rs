//! Lets libFuzzer search for inputs of the target that `FMC_LB_FUZZ` names.

#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FMC_LB_FUZZ").expect("FMC_LB_FUZZ names a target");
        fuzz::target(&name).unwrap_or_else(|| panic!("no target {name}"))
    });
    (target.feed)(data);
});
