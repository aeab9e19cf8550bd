//! What the schema says, decoded and encoded again, is the same bytes.

use proptest::prelude::*;

use super::author::{Style, write};
use super::{each, reencode};

fn comes_back(style: Style, seed: u64) {
    each(|definition, version| {
        let bytes = write(definition, version, style, seed);
        let again = reencode(&definition.name, version, bytes.clone());
        assert_eq!(again, Ok(bytes), "{} v{version}, seed {seed}", definition.name);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_message_in_every_version_comes_back_as_it_was(seed: u64) {
        comes_back(Style::Rich, seed);
    }

    #[test]
    fn tagged_fields_from_the_future_are_passed_over(seed: u64) {
        each(|definition, version| {
            let future = write(definition, version, Style::FromTheFuture, seed);
            let present = write(definition, version, Style::Rich, seed);
            assert_eq!(reencode(&definition.name, version, future), Ok(present), "{} v{version}", definition.name);
        });
    }
}

/// The shortest elements there can be: what bounds an array must not refuse them.
#[test]
fn arrays_of_the_shortest_elements_are_taken() {
    comes_back(Style::Sparse, 0);
}
