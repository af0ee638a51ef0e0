//! Every input in `fuzz/corpus/` goes through its target again.
use std::{fs, path::Path};

fn replay(name: &str) {
    let (_, target) = sockeye_fuzz_targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{} holds {} inputs", folder.display(), inputs.len());
    for input in inputs {
        let data = fs::read(&input).expect("a file");
        // Shown only if the target panics.
        println!("{}", input.display());
        target(&data);
    }
}

#[test]
fn header() {
    replay("header");
}

#[test]
fn frames_server() {
    replay("frames_server");
}

#[test]
fn frames_client() {
    replay("frames_client");
}

#[test]
fn handshake_request() {
    replay("handshake_request");
}

#[test]
fn handshake_response() {
    replay("handshake_response");
}

#[test]
fn detour() {
    replay("detour");
}

#[test]
fn operations() {
    replay("operations");
}

#[test]
fn inflate() {
    replay("inflate");
}

#[test]
fn deflate() {
    replay("deflate");
}

#[test]
fn negotiation() {
    replay("negotiation");
}

#[test]
fn conversation() {
    replay("conversation");
}

#[test]
fn sockjs_paths() {
    replay("sockjs_paths");
}

#[test]
fn sockjs_payload() {
    replay("sockjs_payload");
}
