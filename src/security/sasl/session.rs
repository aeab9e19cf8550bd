//! The seam to rsasl: its registry picks the mechanism, its session carries the tokens, its validation value carries our
//! [`Step`] out. `State` is never read as success.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanism::{Authentication, EmptyProvider, MechanismData, ThisProvider};
use rsasl::mechname::Mechname;
use rsasl::prelude::{MessageSent, SASLConfig, SASLServer, Session, SessionError, State, Validation};
use rsasl::property::Property;
use rsasl::registry;
use rsasl::registry::{Registry, Side};
use rsasl::validate::{Validate, ValidationError};

use crate::model::scram::ScramMechanism;
use crate::security::credentials::ScramCredentials;

use super::cause::{Cause, Reason};
use super::plain::Plain;
use super::scram::Scram;
use super::{SaslMechanism, Step};

/// What mechanisms look things up in. One per listener.
#[derive(Clone, Debug)]
pub struct Environment {
    pub scram: Arc<ScramCredentials>,
    /// `schloss.scram.doubled.nonce` is not `refuse`: take librdkafka's nonce from before 2.6.1.
    pub accept_doubled_nonce: bool,
}

/// The exchanges of one listener: an environment with rsasl's configuration around it.
#[derive(Clone, Debug)]
pub struct SaslEnvironment {
    config: Arc<SASLConfig>,
}

impl SaslEnvironment {
    /// `None` only if rsasl refuses its own configuration.
    pub fn new(environment: Environment) -> Option<Self> {
        let builder = SASLConfig::builder().with_registry(Registry::with_mechanisms(MECHANISMS));
        builder.with_callback(Callback(environment)).ok().map(|config| Self { config })
    }
}

/// One exchange with one peer.
pub struct SaslServer {
    mechanism: SaslMechanism,
    session: Session<Validated>,
    ended: bool,
}

impl fmt::Debug for SaslServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslServer")
            .field("mechanism", &self.mechanism)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl SaslServer {
    /// `None` if the registry does not know the mechanism.
    pub fn start(mechanism: SaslMechanism, environment: &SaslEnvironment) -> Option<Self> {
        let name = Mechname::parse(mechanism.name().as_bytes()).ok()?;
        let server = SASLServer::<Validated>::new(Arc::clone(&environment.config));
        let session = server.start_suggested(name).ok()?;
        Some(Self { mechanism, session, ended: false })
    }

    pub fn mechanism(&self) -> SaslMechanism {
        self.mechanism
    }

    /// Feeds one token. After `Verify` or `Fail` the exchange is over.
    pub fn step(&mut self, token: &[u8]) -> Step {
        if self.ended {
            return Step::Fail(Cause::new(Reason::AfterEnd, None));
        }
        let mut challenge = Vec::new();
        let state = self.session.step(Some(token), &mut challenge);
        if let Some(step) = self.session.validation() {
            self.ended = true;
            return step;
        }
        match state {
            Ok(State::Running) if !challenge.is_empty() => Step::Challenge(challenge),
            _ => {
                self.ended = true;
                Step::Fail(Cause::new(Reason::Internal, None))
            }
        }
    }
}

/// A mechanism of ours, without rsasl.
pub(super) trait Mechanism: fmt::Debug + Send + Sync + 'static {
    /// Called until it returns something other than `Challenge`.
    fn step(&mut self, token: &[u8], environment: &Environment) -> Step;
}

/// Dresses a mechanism of ours as one of rsasl's.
struct Adapter<M>(M);

impl<M: Mechanism> Authentication for Adapter<M> {
    fn step(
        &mut self,
        session: &mut MechanismData<'_, '_>,
        input: Option<&[u8]>,
        writer: &mut dyn std::io::Write,
    ) -> Result<State, SessionError> {
        let token = input.ok_or(SessionError::InputDataRequired)?;
        let step = session.need_with::<EnvironmentProperty, _, _>(&EmptyProvider, |e| Ok(self.0.step(token, e)))?;
        match step {
            Step::Challenge(bytes) => {
                writer.write_all(&bytes)?;
                Ok(State::Running)
            }
            end => {
                let end = Mutex::new(Some(end));
                session.validate(&ThisProvider::<EndProperty>::with(&end))?;
                Ok(State::Finished(MessageSent::No))
            }
        }
    }
}

/// Hands the environment in.
struct EnvironmentProperty;

impl Property<'_> for EnvironmentProperty {
    type Value = Environment;
}

/// Hands the end of an exchange out of the mechanism.
struct EndProperty;

impl Property<'_> for EndProperty {
    type Value = Mutex<Option<Step>>;
}

/// Hands it on to whoever stepped the session.
struct Validated;

impl Validation for Validated {
    type Value = Step;
}

struct Callback(Environment);

impl SessionCallback for Callback {
    fn callback(&self, _: &SessionData, _: &Context<'_>, request: &mut Request<'_>) -> Result<(), SessionError> {
        request.satisfy::<EnvironmentProperty>(&self.0)?;
        Ok(())
    }

    fn validate(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        let cell = context.get_ref::<EndProperty>().ok_or(ValidationError::MissingRequiredProperty)?;
        let end = cell.lock().unwrap_or_else(PoisonError::into_inner).take();
        validate.finalize::<Validated>(end.ok_or(ValidationError::MissingRequiredProperty)?);
        Ok(())
    }
}

const fn registered(name: &'static [u8], server: registry::ServerStartFn) -> registry::Mechanism {
    let name = Mechname::const_new_unchecked(name);
    registry::Mechanism::build(name, 0, None, Some(server), Side::Client, |_| None, |_| false)
}

static MECHANISMS: &[registry::Mechanism] = &[
    registered(b"SCRAM-SHA-512", |_| Ok(Box::new(Adapter(Scram::new(ScramMechanism::Sha512))))),
    registered(b"SCRAM-SHA-256", |_| Ok(Box::new(Adapter(Scram::new(ScramMechanism::Sha256))))),
    registered(b"PLAIN", |_| Ok(Box::new(Adapter(Plain)))),
];
