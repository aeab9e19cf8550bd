//! Whom a TLS client certificate speaks for.
//!
//! Precedent: `DefaultKafkaPrincipalBuilder` over `X500Principal.getName()`. ACLs and super users compare this text, so
//! it has to be Java's, byte for byte ([`name`]), before the mapping rules are applied ([`mapping`]).

pub mod mapping;
pub mod name;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::model::principal::KafkaPrincipal;

use super::credentials::check_user_name;
use super::one_line::OneLine;

use mapping::PrincipalMapping;

/// The type of principals that nobody is: no ACL for `User:*` reaches them, no super user is one.
pub const REFUSED: &str = "RefusedCertificate";

/// The principal of a verified chain, leaf first; ANONYMOUS without one. A name that can't be read, that no rule maps or
/// that would be taken for everybody gets a principal of type [`REFUSED`], which may nothing.
pub fn principal_of(chain: &[CertificateDer<'_>], mapping: &PrincipalMapping) -> KafkaPrincipal {
    let Some(leaf) = chain.first() else { return KafkaPrincipal::anonymous() };
    let Some(subject) = subject_text(leaf) else {
        tracing::warn!("a client's certificate passed the check, but its subject can't be read: it gets no rights");
        return KafkaPrincipal::new(REFUSED, "unreadable");
    };
    let Some(user) = mapping.map(&subject) else {
        tracing::warn!(
            "no rule of ssl.principal.mapping.rules applies to \"{}\": it gets no rights; fix: add DEFAULT as last rule",
            OneLine(&subject)
        );
        return KafkaPrincipal::new(REFUSED, &subject);
    };
    if let Err(e) = check_user_name(&user) {
        tracing::warn!("certificate \"{}\": {e}: it gets no rights", OneLine(&subject));
        return KafkaPrincipal::new(REFUSED, &user);
    }
    KafkaPrincipal::user(&user)
}

/// The subject of a certificate as Java prints it.
pub fn subject_text(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    name::rfc2253(parsed.tbs_certificate.subject.as_raw())
}
