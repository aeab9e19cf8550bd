//! Properties and JAAS files of any content are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schloss::config::jaas::{Expansions, parse_file};
use schloss::config::properties;
use schloss::config::source::Origin;

fuzz_target!(|data: &[u8]| {
    let [which, text @ ..] = data else { return };
    if which & 1 == 0 {
        let _ = properties::parse_bytes(text, Origin::file("server.properties")).map_err(|error| error.to_string());
    } else if let Ok(text) = String::from_utf8(text.to_vec()) {
        let expansions = Expansions { properties: None, env: None };
        let _ = parse_file(text, Origin::file("jaas.conf"), &expansions).map_err(|error| error.to_string());
    }
});
