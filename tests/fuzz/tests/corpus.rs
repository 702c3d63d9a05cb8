//! Every input that a search has kept is fed again, also cut short and with single bits turned.

use std::path::Path;

use fuzz::TARGETS;

/// Most places of an input at which it is cut and a bit is turned.
const PLACES: usize = 128;

#[test]
fn every_kept_input_and_its_neighbours_are_survived() {
    for target in TARGETS {
        let inputs = kept(target.name);
        assert!(inputs.len() >= 5, "{}: only {}", target.name, inputs.len());
        for input in &inputs {
            (target.feed)(input);
            let step = input.len() / PLACES + 1;
            for place in (0..input.len()).step_by(step) {
                (target.feed)(&input[..place]);
                for bit in 0..8 {
                    let mut turned = input.clone();
                    turned[place] ^= 1 << bit;
                    (target.feed)(&turned);
                }
            }
        }
    }
}

fn kept(name: &str) -> Vec<Vec<u8>> {
    let file = format!("{}/corpus/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(Path::new(&file)).expect("every target has a corpus");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(bytes)
        .collect()
}

fn bytes(line: &str) -> Vec<u8> {
    assert!(line.len().is_multiple_of(2), "half a byte in {line}");
    (0..line.len() / 2)
        .map(|at| u8::from_str_radix(&line[2 * at..][..2], 16).expect("hexadecimal digits"))
        .collect()
}
