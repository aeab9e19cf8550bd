//! Requests of every API and version to a broker that lets their sender in. Each piece: key, version, body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schloss::handlers;
use schloss_fuzz::{Client, house, piece};

fuzz_target!(|data: &[u8]| {
    let Some(mut client) = Client::connect(house().clear) else { return };
    let table = handlers::table();
    let mut rest = data;
    while let Some(piece) = piece(&mut rest) {
        let [key, version, body @ ..] = piece else { continue };
        let key = table[usize::from(*key) % table.len()].key;
        let versions = key.versions();
        let count = versions.max - versions.min + 1;
        client.request(key, versions.min + i16::from(*version) % count, body);
    }
    client.finish();
});
