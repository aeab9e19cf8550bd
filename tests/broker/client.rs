//! A client that speaks in frames: it can wait with reading, misbehave, and be cut off.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::header::{RequestHeader, ResponseHeader};
use schloss::protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use schloss::protocol::messages::metadata_response::MetadataResponse;
use schloss::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use schloss::protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use schloss::protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use schloss::protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use schloss::protocol::wire::{Message, Reader, Writer};

use crate::support::PATIENCE;

/// Over TCP, or over what is laid on it.
pub struct Client<S = TcpStream> {
    pub stream: S,
    correlation: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// For those who know that the broker may be gone.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Logged in with PLAIN.
    pub fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut client = Self::connect(address);
        let code = client.plain(user, password).error_code;
        assert_eq!(code, 0, "{user} can't log in");
        client
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, correlation: 0 }
    }

    pub fn handshake(&mut self, version: i16, mechanism: &str) -> SaslHandshakeResponse {
        self.try_handshake(version, mechanism).unwrap()
    }

    pub fn try_handshake(&mut self, version: i16, mechanism: &str) -> io::Result<SaslHandshakeResponse> {
        let request = SaslHandshakeRequest { mechanism: mechanism.into() };
        self.ask(ApiKey::SaslHandshake, version, &request)
    }

    pub fn plain(&mut self, user: &str, password: &str) -> SaslAuthenticateResponse {
        assert_eq!(self.handshake(1, "PLAIN").error_code, 0);
        self.authenticate(format!("\0{user}\0{password}").as_bytes()).unwrap()
    }

    pub fn authenticate(&mut self, token: &[u8]) -> io::Result<SaslAuthenticateResponse> {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(token) };
        self.ask(ApiKey::SaslAuthenticate, 2, &request)
    }

    /// Is this connection served, by any request that needs a login?
    pub fn metadata(&mut self, topics: &[&str]) -> io::Result<MetadataResponse> {
        let topics =
            topics.iter().map(|name| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() });
        let request =
            MetadataRequest { topics: Some(topics.collect()), allow_auto_topic_creation: false, ..Default::default() };
        self.ask(ApiKey::Metadata, 12, &request)
    }

    /// One request and its answer; an error if the peer closes instead.
    pub fn ask<Q: Message, A: Message>(&mut self, key: ApiKey, version: i16, request: &Q) -> io::Result<A> {
        self.send(key, version, request)?;
        let (_, body) = self.receive(key, version)?;
        Ok(A::decode(&mut Reader::new(body), version).expect("an answer that can't be read"))
    }

    /// Sends a request; its correlation id.
    pub fn send<Q: Message>(&mut self, key: ApiKey, version: i16, request: &Q) -> io::Result<i32> {
        self.correlation += 1;
        let mut w = Writer::framed(256);
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("test".into()),
        };
        header.encode(&mut w);
        request.encode(&mut w, version);
        self.stream.write_all(&w.finish().bytes)?;
        Ok(self.correlation)
    }

    /// The next answer: its correlation id and body.
    pub fn receive(&mut self, key: ApiKey, version: i16) -> io::Result<(i32, Bytes)> {
        let mut reader = Reader::new(self.frame()?.into());
        let header = ResponseHeader::decode(&mut reader, key.response_header_version(version)).unwrap();
        Ok((header.correlation_id, reader.into_rest()))
    }

    /// The next frame as it comes.
    pub fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Sends bytes as they are, with the length in front.
    pub fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
        self.stream.write_all(frame)
    }

    /// Waits for the peer to close. What it still sends is returned.
    pub fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            // TLS is told about an end without goodbye, TCP about bytes that nobody will read.
            Err(error) if [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof].contains(&error.kind()) => {
                rest
            }
            Err(error) => panic!("the connection is still open: {error}"),
        }
    }
}
