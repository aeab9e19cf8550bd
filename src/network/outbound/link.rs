//! One connection to one broker.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use sasl::client::Mechanism as SaslClient;
use sasl::client::mechanisms::{Plain, Scram};
use sasl::common::scram::Sha256;
use sasl::common::{ChannelBinding, Credentials};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::scram::Sha512;
use super::{Endpoint, Login, Mechanism, Security};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::header::{RequestHeader, ResponseHeader};
use crate::protocol::messages::api_versions_request::ApiVersionsRequest;
use crate::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use crate::protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use crate::protocol::wire::{DecodeError, Message as _, Reader, Request, Writer};

/// Largest answer that is taken.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// What this client calls itself.
const NAME: &str = "schloss";

/// Why a broker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{endpoint} can't be reached: {error}")]
    Connect { endpoint: Endpoint, error: io::Error },
    #[error("{endpoint} did not answer within {} s", after.as_secs())]
    TimedOut { endpoint: Endpoint, after: Duration },
    #[error("{endpoint} closed the connection")]
    Closed { endpoint: Endpoint },
    #[error("{endpoint}: {error}")]
    Io { endpoint: Endpoint, error: io::Error },
    #[error("{host} is no host name that a certificate can be checked against")]
    HostName { host: String },
    #[error("no certificate of an authority was found among those to be trusted")]
    NoTrust,
    #[error("{endpoint} refused the login of {user}: {text}")]
    Login { endpoint: Endpoint, user: String, text: String },
    #[error("{endpoint} does not know {mechanism}; it takes {offered}")]
    Mechanism { endpoint: Endpoint, mechanism: &'static str, offered: String },
    #[error("{endpoint} does not serve {} in a version that is known here", api.name())]
    Unsupported { endpoint: Endpoint, api: ApiKey },
    #[error("{endpoint} sent an answer that can't be read: {error}")]
    Undecodable { endpoint: Endpoint, error: DecodeError },
    #[error("{endpoint} sent an answer of {bytes} bytes")]
    TooLarge { endpoint: Endpoint, bytes: usize },
    /// The broker's own refusal.
    #[error("{what}: {} ({})", text.as_deref().unwrap_or(code.message()), code.name())]
    Refused { what: String, code: ErrorCode, text: Option<String> },
}

impl ClientError {
    /// A refusal of `what`, if `code` is one.
    pub fn refusal(what: impl Into<String>, code: i16, text: Option<&str>) -> Option<Self> {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
        (code != ErrorCode::None).then(|| Self::Refused { what: what.into(), code, text })
    }

    /// May the same come out well on a new connection?
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::TimedOut { .. } | Self::Closed { .. } | Self::Io { .. })
    }

    /// The broker's code, if it is a refusal.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite {}
impl<S: AsyncRead + AsyncWrite> Stream for S {}

/// A connection that has said who it is.
pub struct Link {
    endpoint: Endpoint,
    stream: Pin<Box<dyn Stream>>,
    versions: HashMap<ApiKey, (i16, i16)>,
    correlation: i32,
    timeout: Duration,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, and logs in if `security` says who.
    ///
    /// # Errors
    /// Whatever keeps it from being used.
    pub async fn open(endpoint: &Endpoint, security: &Security, timeout: Duration) -> Result<Self, ClientError> {
        let opened = async {
            let stream = connect(endpoint, security).await?;
            let versions = HashMap::new();
            let mut link = Self { endpoint: endpoint.clone(), stream, versions, correlation: 0, timeout };
            link.greet().await?;
            if let Some(login) = &security.login {
                link.log_in(login).await?;
            }
            Ok(link)
        };
        let late = || ClientError::TimedOut { endpoint: endpoint.clone(), after: timeout };
        tokio::time::timeout(timeout, opened).await.map_err(|_| late())?
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks, in the newest version that both know, and waits for the answer.
    ///
    /// # Errors
    /// Whatever keeps the answer away. What the answer itself says is for the caller to look at.
    pub async fn call<Q: Request>(&mut self, request: &Q) -> Result<Q::Response, ClientError> {
        self.call_waiting(request, Duration::ZERO).await
    }

    /// The same for a request that the broker may keep for so long before it answers.
    ///
    /// # Errors
    /// As there.
    pub async fn call_waiting<Q: Request>(
        &mut self,
        request: &Q,
        longer: Duration,
    ) -> Result<Q::Response, ClientError> {
        let version = self.version::<Q>()?;
        let after = self.timeout + longer;
        let asked = self.ask(request, version);
        match tokio::time::timeout(after, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut { endpoint: self.endpoint.clone(), after }),
        }
    }

    fn version<Q: Request>(&self) -> Result<i16, ClientError> {
        let unsupported = || ClientError::Unsupported { endpoint: self.endpoint.clone(), api: Q::KEY };
        let (min, max) = *self.versions.get(&Q::KEY).ok_or_else(unsupported)?;
        let version = max.min(Q::MAX_VERSION);
        if version < min.max(Q::MIN_VERSION) { Err(unsupported()) } else { Ok(version) }
    }

    /// Sends what no answer comes to: a Produce with `acks=0`.
    ///
    /// # Errors
    /// It can't be sent.
    pub async fn tell<Q: Request>(&mut self, request: &Q) -> Result<(), ClientError> {
        let version = self.version::<Q>()?;
        let after = self.timeout;
        match tokio::time::timeout(after, self.send(request, version)).await {
            Ok(sent) => sent,
            Err(_) => Err(ClientError::TimedOut { endpoint: self.endpoint.clone(), after }),
        }
    }

    async fn ask<Q: Request>(&mut self, request: &Q, version: i16) -> Result<Q::Response, ClientError> {
        self.send(request, version).await?;
        let mut reader = Reader::new(self.frame().await?);
        let undecodable = |error| ClientError::Undecodable { endpoint: self.endpoint.clone(), error };
        ResponseHeader::decode(&mut reader, Q::KEY.response_header_version(version)).map_err(undecodable)?;
        Q::Response::decode(&mut reader, version).map_err(undecodable)
    }

    async fn send<Q: Request>(&mut self, request: &Q, version: i16) -> Result<(), ClientError> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut w = Writer::framed(256);
        let header = RequestHeader {
            api_key: Q::KEY,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some(NAME.into()),
        };
        header.encode(&mut w);
        request.encode(&mut w, version);
        let frame = w.finish().bytes;
        let sent = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| broken(&self.endpoint, error))
    }

    async fn frame(&mut self) -> Result<Bytes, ClientError> {
        let length = self.stream.read_i32().await.map_err(|error| broken(&self.endpoint, error))?;
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > MAX_ANSWER {
            return Err(ClientError::TooLarge { endpoint: self.endpoint.clone(), bytes });
        }
        let mut frame = vec![0; bytes];
        self.stream.read_exact(&mut frame).await.map_err(|error| broken(&self.endpoint, error))?;
        Ok(frame.into())
    }

    async fn greet(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: NAME.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        // Older brokers answer version 3 with an error in version 0.
        let answer = self.ask(&request, 3).await?;
        for api in &answer.api_keys {
            if let Some(key) = ApiKey::from_number(api.api_key) {
                self.versions.insert(key, (api.min_version, api.max_version));
            }
        }
        Ok(())
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), ClientError> {
        let request = SaslHandshakeRequest { mechanism: login.mechanism.name().into() };
        let answer = self.ask(&request, 1).await?;
        if answer.error_code != ErrorCode::None.code() {
            let offered: Vec<String> = answer.mechanisms.iter().map(ToString::to_string).collect();
            let (endpoint, mechanism) = (self.endpoint.clone(), login.mechanism.name());
            return Err(ClientError::Mechanism { endpoint, mechanism, offered: offered.join(", ") });
        }
        let mut mechanism = mechanism_of(login).map_err(|text| self.refused(login, text))?;
        let mut token = mechanism.initial();
        loop {
            let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(token) };
            let answer = self.ask(&request, 1).await?;
            if answer.error_code != ErrorCode::None.code() {
                return Err(self.refused(login, answer.error_message.unwrap_or_default().to_string()));
            }
            token = match login.mechanism {
                Mechanism::Plain => return Ok(()),
                // The last word is the server's proof.
                Mechanism::ScramSha256 | Mechanism::ScramSha512 if answer.auth_bytes.starts_with(b"v=") => {
                    let proven = mechanism.success(&answer.auth_bytes);
                    return proven.map_err(|_| self.refused(login, "the broker does not know the password".to_owned()));
                }
                Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                    mechanism.response(&answer.auth_bytes).map_err(|error| self.refused(login, error.to_string()))?
                }
            };
        }
    }

    fn refused(&self, login: &Login, text: String) -> ClientError {
        ClientError::Login { endpoint: self.endpoint.clone(), user: login.user.clone(), text }
    }
}

fn mechanism_of(login: &Login) -> Result<Box<dyn SaslClient>, String> {
    let name = match login.mechanism {
        Mechanism::Plain => login.user.clone(),
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => saslname(&login.user),
    };
    let credentials = Credentials::default()
        .with_username(name)
        .with_password(login.password.expose())
        .with_channel_binding(ChannelBinding::None);
    let mechanism: Box<dyn SaslClient> = match login.mechanism {
        Mechanism::Plain => Box::new(Plain::from_credentials(credentials).map_err(|error| error.to_string())?),
        Mechanism::ScramSha256 => {
            Box::new(Scram::<Sha256>::from_credentials(credentials).map_err(|error| error.to_string())?)
        }
        Mechanism::ScramSha512 => {
            Box::new(Scram::<Sha512>::from_credentials(credentials).map_err(|error| error.to_string())?)
        }
    };
    Ok(mechanism)
}

/// A name as SCRAM writes it (RFC 5802 section 5.1); the library sends what it is given.
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

async fn connect(endpoint: &Endpoint, security: &Security) -> Result<Pin<Box<dyn Stream>>, ClientError> {
    let unreachable = |error| ClientError::Connect { endpoint: endpoint.clone(), error };
    let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let Some(tls) = &security.tls else { return Ok(Box::pin(stream)) };
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| ClientError::HostName { host: endpoint.host.clone() })?;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(tls));
    Ok(Box::pin(connector.connect(name, stream).await.map_err(unreachable)?))
}

fn broken(endpoint: &Endpoint, error: io::Error) -> ClientError {
    let endpoint = endpoint.clone();
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            ClientError::Closed { endpoint }
        }
        _ => ClientError::Io { endpoint, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(saslname("a=b,c"), "a=3Db=2Cc");
    }
}
