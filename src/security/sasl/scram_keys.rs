//! The keys of SCRAM (RFC 5802 section 3): from a password at creation, from a proof at login.

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};

use crate::model::scram::{ScramCredential, ScramMechanism};

/// Salts as Kafka's tools make them: about 130 random bits as text of digits and lower case letters, so that users made
/// here and users made there look alike.
pub const SALT_LENGTH: usize = 26;

/// The machine has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes from the system")]
pub struct NoRandomness;

/// `SaltedPassword`: PBKDF2 over the password's bytes, no SASLprep (as `ScramFormatter`).
pub fn salted_password(mechanism: ScramMechanism, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let mut out = vec![0; mechanism.key_len()];
    pbkdf2::derive(algorithm, iterations, salt, password, &mut out);
    out
}

/// What is stored, from a salted password as AlterUserScramCredentials carries it.
pub fn credential_from_salted(
    mechanism: ScramMechanism,
    salted_password: &[u8],
    salt: &[u8],
    iterations: i32,
) -> ScramCredential {
    let client_key = mac(mechanism, salted_password, b"Client Key");
    let server_key = mac(mechanism, salted_password, b"Server Key");
    ScramCredential {
        salt: Arc::from(salt),
        stored_key: Arc::from(hash(mechanism, client_key.as_ref()).as_ref()),
        server_key: Arc::from(server_key.as_ref()),
        iterations,
    }
}

/// What is stored, from a password. `None` if iterations is not positive.
pub fn credential_from_password(
    mechanism: ScramMechanism,
    password: &[u8],
    salt: &[u8],
    iterations: i32,
) -> Option<ScramCredential> {
    let count = u32::try_from(iterations).ok().and_then(NonZeroU32::new)?;
    let salted = salted_password(mechanism, password, salt, count);
    Some(credential_from_salted(mechanism, &salted, salt, iterations))
}

/// A fresh salt.
///
/// # Errors
/// If the system gives no randomness.
pub fn random_salt() -> Result<Vec<u8>, NoRandomness> {
    let mut salt = [0; SALT_LENGTH];
    rand::fill(&mut salt).map_err(|_| NoRandomness)?;
    Ok(salt.into_iter().map(base36).collect())
}

/// One of 36 characters from a random byte; the bias of 256 mod 36 costs a tenth of a bit in five.
pub(in crate::security) fn base36(byte: u8) -> u8 {
    match byte % 36 {
        digit @ 0..=9 => b'0' + digit,
        letter => b'a' + (letter - 10),
    }
}

/// Does the proof show knowledge of the key behind `stored_key`? Compared in constant time.
pub(super) fn proof_matches(mechanism: ScramMechanism, stored_key: &[u8], auth_message: &[u8], proof: &[u8]) -> bool {
    let signature = mac(mechanism, stored_key, auth_message);
    let signature = signature.as_ref();
    if proof.len() != signature.len() {
        return false;
    }
    let client_key: Vec<u8> = proof.iter().zip(signature).map(|(p, s)| p ^ s).collect();
    constant_time::verify_slices_are_equal(hash(mechanism, &client_key).as_ref(), stored_key).is_ok()
}

/// What proves to the client that we know its key.
pub(super) fn server_signature(mechanism: ScramMechanism, server_key: &[u8], auth_message: &[u8]) -> hmac::Tag {
    mac(mechanism, server_key, auth_message)
}

fn mac(mechanism: ScramMechanism, key: &[u8], message: &[u8]) -> hmac::Tag {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => hmac::HMAC_SHA256,
        ScramMechanism::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message)
}

fn hash(mechanism: ScramMechanism, bytes: &[u8]) -> digest::Digest {
    let algorithm = match mechanism {
        ScramMechanism::Sha256 => &digest::SHA256,
        ScramMechanism::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, bytes)
}
