//! TLS, the group's status, the WebSocket: the way to the server.

use super::{JoinError, ServerTrust};
use galene_sips::galene::{Endpoint, GroupAddress, MESSAGE_LIMIT};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A WebSocket over TLS.
pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(super) fn tls_config(trust: &ServerTrust) -> Result<Arc<rustls::ClientConfig>, JoinError> {
    let bad = |error: &dyn std::fmt::Display| JoinError::Connection(format!("TLS: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    let config = match trust {
        ServerTrust::CaFile(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        ServerTrust::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// Believes every certificate. Only here.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn connect(host: &str, port: u16, tls: &Arc<rustls::ClientConfig>) -> Result<TlsStream<TcpStream>, JoinError> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| JoinError::Connection(error.to_string()))?;
    Ok(tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)
}

/// `GET …/.status`, in the smallest HTTP/1.1 that Galène and the laboratory's server understand.
pub(super) async fn ask_status(address: &GroupAddress, tls: &Arc<rustls::ClientConfig>) -> Result<Endpoint, JoinError> {
    let mut stream = connect(address.host(), address.port(), tls).await?;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\n\r\n",
        address.status_path(),
        address.authority()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = (&mut stream).take(256 * 1024).read_to_end(&mut answer).await;
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        read?;
        return Err(JoinError::Connection("no answer to the request for the group's status".to_owned()));
    };
    let head = String::from_utf8_lossy(&answer[..head_end]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(JoinError::Address(format!("the server answered {status} to the request for the group's status")));
    }
    address.endpoint(&answer[head_end + 4..]).map_err(|error| JoinError::Address(error.to_string()))
}

/// The WebSocket, and the address from which we reach the server.
pub(super) async fn open_websocket(
    endpoint: &Endpoint,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<(Socket, IpAddr), JoinError> {
    let stream = connect(&endpoint.host, endpoint.port, tls).await?;
    let local = stream.get_ref().0.local_addr()?.ip();
    let url = format!("wss://{}{}", endpoint.authority, endpoint.path);
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
        .await
        .map_err(|error| JoinError::Connection(error.to_string()))?;
    Ok((socket, local))
}
