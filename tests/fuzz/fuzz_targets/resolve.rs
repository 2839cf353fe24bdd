//! Any bytes are a question or none: what is answered is an answer to them, within bounds. And any bytes are another
//! server's answer: what is handed on fits.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use xcompose::dns::names::{Member, Names};
use xcompose::dns::{Asker, Transport, answer, wire};

/// A network with a service of many replicas, and a container that asks.
static WORLD: LazyLock<(Asker, Names)> = LazyLock::new(|| {
    let members: Vec<Member> = (1..=250_u8)
        .map(|number| Member {
            network: "n".to_owned(),
            network_name: "p_default".to_owned(),
            container: format!("p-web-{number}"),
            names: vec!["web".to_owned()],
            addresses: vec![[172, 18, 0, number].into(), [0xfd00, 0, 0, 0, 0, 0, 0, number.into()].into()],
        })
        .collect();
    let asker = Asker { networks: vec!["n".to_owned()], ..Asker::default() };
    (asker, Names::new(&members))
});

fuzz_target!(|bytes: &[u8]| {
    let (asker, names) = &*WORLD;
    for (transport, most) in [(Transport::Udp, 4096), (Transport::Tcp, 65_535)] {
        if let Some(answer) = answer(asker, names, bytes, transport) {
            assert!(!wire::is_answer(bytes), "an answer is not answered");
            assert!(wire::is_answer(&answer) && wire::id(&answer) == wire::id(bytes));
            assert!(answer.len() <= most, "{} bytes", answer.len());
        }
    }
    let mut answer = bytes.to_vec();
    let before = wire::lifetime(&answer);
    wire::age(&mut answer, Duration::from_secs(1));
    assert!(wire::lifetime(&answer) <= before);
    assert!(wire::fit(answer, 512).len() <= 512);
});
