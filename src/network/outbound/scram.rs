//! SCRAM-SHA-512 for the `sasl` crate, which knows the smaller hashes.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac as mac};
use hmac::digest::InvalidLength;
use sasl::common::Password;
use sasl::common::scram::{DeriveError, ScramProvider};
use sasl::secret::{Pbkdf2Secret, Secret};

use crate::model::scram::ScramMechanism;
use crate::security::sasl::scram_keys::salted_password;

/// The provider.
#[derive(Debug)]
pub(super) struct Sha512;

/// A salted password, as the crate wants to have it named. This client always starts from the password.
#[derive(Debug)]
pub(super) struct Pbkdf2Sha512 {
    salt: Vec<u8>,
    iterations: u32,
    digest: Vec<u8>,
}

impl Secret for Pbkdf2Sha512 {}

impl Pbkdf2Secret for Pbkdf2Sha512 {
    fn salt(&self) -> &[u8] {
        &self.salt
    }

    fn iterations(&self) -> u32 {
        self.iterations
    }

    fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl ScramProvider for Sha512 {
    type Secret = Pbkdf2Sha512;

    fn name() -> &'static str {
        "SHA-512"
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA512, data).as_ref().to_vec()
    }

    fn hmac(data: &[u8], key: &[u8]) -> Result<Vec<u8>, InvalidLength> {
        Ok(mac::sign(&mac::Key::new(mac::HMAC_SHA512, key), data).as_ref().to_vec())
    }

    fn derive(password: &Password, salt: &[u8], iterations: u32) -> Result<Vec<u8>, DeriveError> {
        match (password, NonZeroU32::new(iterations)) {
            (Password::Plain(text), Some(iterations)) => {
                Ok(salted_password(ScramMechanism::Sha512, text.as_bytes(), salt, iterations))
            }
            (Password::Plain(_), None) => Err(DeriveError::InvalidLength),
            (Password::Pbkdf2 { method, .. }, _) => {
                Err(DeriveError::IncompatibleHashingMethod(method.clone(), Self::name().to_owned()))
            }
        }
    }
}
