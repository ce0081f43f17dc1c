//! A certificate authority of the laboratory's own, and server certificates: a good one and every bad one that a
//! SIP client must tell from it (RFC 5922 §7, RFC 5280 §6). Keys exist in memory only.

use crate::{Failure, Outcome};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is right or wrong with a server certificate for the name that it is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Signed by the authority, valid now, names the server in a DNS subjectAltName.
    Good,
    /// Names `wrong.NAME` instead.
    WrongName,
    /// Ended yesterday.
    Expired,
    /// Begins tomorrow.
    NotYetValid,
    /// Signed by its own key.
    SelfSigned,
    /// Names `*.PARENT`, which TLS allows and SIP forbids (RFC 5922 §7.2).
    Wildcard,
    /// Names the server only in a `sip:` URI: right for SIP (RFC 5922 §7.1), unknown to the Web's rules.
    SipUriOnly,
    /// Has the right DNS name beside a `sip:` URI of another domain, which takes precedence (RFC 5922 §7.1).
    ShadowingUri,
    /// Has the right name only in the subject's common name, and no subjectAltName.
    CommonNameOnly,
}

/// The TLS versions that a server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// 1.2 only.
    V12,
    /// 1.3 only.
    V13,
    /// Both.
    Both,
}

impl Tls {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static V12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static V13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Tls::V12 => V12,
            Tls::V13 => V13,
            Tls::Both => rustls::ALL_VERSIONS,
        }
    }
}

/// A certificate authority. Two of them with the same name are still strangers to each other.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority with a fresh key, valid from yesterday for a year.
    pub fn new(common_name: &str) -> Outcome<Authority> {
        Ok(Authority { issuer: CertifiedIssuer::self_signed(authority(common_name, 1), KeyPair::generate()?)? })
    }

    /// An authority below this one. Servers send its certificate after their own.
    pub fn intermediate(&self, common_name: &str) -> Outcome<Authority> {
        let params = authority(common_name, 0);
        Ok(Authority { issuer: CertifiedIssuer::signed_by(params, KeyPair::generate()?, &self.issuer)? })
    }

    /// The authority's certificate, to be trusted by whoever is told to.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The same as PEM: the content of a `ca_file`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for the server `name` (a DNS name), with the given flaw.
    pub fn issue(&self, kind: Kind, name: &str) -> Outcome<Identity> {
        let mut params = params(name);
        params.subject_alt_names = match kind {
            Kind::WrongName => vec![dns(&format!("wrong.{name}"))?],
            Kind::Wildcard => vec![dns(&format!("*.{}", parent(name)?))?],
            Kind::SipUriOnly => vec![uri(&format!("sip:{name}"))?],
            Kind::ShadowingUri => vec![uri("sip:somebody-else.example")?, dns(name)?],
            Kind::CommonNameOnly => vec![],
            Kind::Good | Kind::Expired | Kind::NotYetValid | Kind::SelfSigned => vec![dns(name)?],
        };
        let now = SystemTime::now();
        match kind {
            Kind::Expired => (params.not_before, params.not_after) = ((now - 10 * DAY).into(), (now - DAY).into()),
            Kind::NotYetValid => (params.not_before, params.not_after) = ((now + DAY).into(), (now + 10 * DAY).into()),
            _ => {}
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = match kind {
            Kind::SelfSigned => params.self_signed(&key)?,
            _ => params.signed_by(&key, &self.issuer)?,
        };
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }

    /// A good certificate for a server that is addressed by `address` instead of a name.
    pub fn issue_for_address(&self, address: std::net::IpAddr) -> Outcome<Identity> {
        self.issue_for_server(&address.to_string(), vec![SanType::IpAddress(address)])
    }

    /// A good certificate for a server that is addressed by its name or by its address.
    pub fn issue_for_both(&self, name: &str, address: std::net::IpAddr) -> Outcome<Identity> {
        self.issue_for_server(name, vec![dns(name)?, SanType::IpAddress(address)])
    }

    /// A good certificate for `name` whose subject says anything else.
    pub fn issue_with_subject(&self, common_name: &str, name: &str) -> Outcome<Identity> {
        self.issue_for_server(common_name, vec![dns(name)?])
    }

    /// A good certificate for each of these names, with which it begins.
    pub fn issue_for_names(&self, names: &[String]) -> Outcome<Identity> {
        let common_name = names.first().map(String::as_str).unwrap_or_default();
        self.issue_for_server(common_name, names.iter().map(|name| dns(name)).collect::<Outcome<_>>()?)
    }

    fn issue_for_server(&self, common_name: &str, names: Vec<SanType>) -> Outcome<Identity> {
        let mut params = params(common_name);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A good certificate for an RSA key of 2048 bits, which the suites without forward secrecy need.
    pub fn issue_with_rsa(&self, name: &str) -> Outcome<Identity> {
        self.issue_with_key(name, KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?, vec![])
    }

    /// A good certificate with extensions of the caller's: OIDs and their DER values.
    pub fn issue_with_extensions(&self, name: &str, extensions: &[(&[u64], Vec<u8>)]) -> Outcome<Identity> {
        let extensions =
            extensions.iter().map(|(oid, value)| CustomExtension::from_oid_content(oid, value.clone())).collect();
        self.issue_with_key(name, KeyPair::generate()?, extensions)
    }

    fn issue_with_key(&self, name: &str, key: KeyPair, extensions: Vec<CustomExtension>) -> Outcome<Identity> {
        let mut params = params(name);
        params.subject_alt_names = vec![dns(name)?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        params.custom_extensions = extensions;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }

    /// A certificate for a responder that speaks about revocation in the authority's name (RFC 6960 §4.2.2.2).
    pub fn issue_for_ocsp(&self, common_name: &str) -> Outcome<Identity> {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        self.sign(&params)
    }

    /// The authority's private key as PKCS #8 PEM, for programs that sign in its name.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate with which a client shows who it is.
    pub fn issue_for_client(&self, common_name: &str) -> Outcome<Identity> {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// What a TLS client needs that trusts this authority and nobody else.
    pub fn client_config(&self) -> Outcome<Arc<ClientConfig>> {
        Ok(Arc::new(
            ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(self.roots()?)
                .with_no_client_auth(),
        ))
    }

    fn sign(&self, params: &CertificateParams) -> Outcome<Identity> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key })
    }

    fn roots(&self) -> Outcome<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate())?;
        Ok(roots)
    }
}

/// A certificate with its private key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Identity {
    /// The certificate in DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key as PKCS #8 PEM, for programs that read files.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The private key for rustls.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The `pin_sha256` of this certificate: Base64 of SHA-256 of its SubjectPublicKeyInfo.
    pub fn pin_sha256(&self) -> String {
        BASE64.encode(Sha256::digest(self.key.subject_public_key_info()))
    }

    /// What a TLS server needs that presents this certificate and asks for none.
    pub fn server_config(&self, tls: Tls) -> Outcome<Arc<ServerConfig>> {
        Ok(Arc::new(
            ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(tls.versions())?
                .with_no_client_auth()
                .with_single_cert(vec![self.certificate()], self.key())?,
        ))
    }

    /// The same, for clients that show a certificate of `authority`, and no others.
    pub fn server_config_for_clients_of(&self, authority: &Authority, tls: Tls) -> Outcome<Arc<ServerConfig>> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()?), provider()).build()?;
        Ok(Arc::new(
            ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(tls.versions())?
                .with_client_cert_verifier(verifier)
                .with_single_cert(vec![self.certificate()], self.key())?,
        ))
    }
}

/// A host name or address as rustls wants it.
pub fn server_name(name: &str) -> Outcome<ServerName<'static>> {
    Ok(ServerName::try_from(name.to_owned())?)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "galene-sips laboratory, not to be trusted");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + 364 * DAY).into());
    params
}

/// An authority's, with so many others below it.
fn authority(common_name: &str, below: u8) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dns(name: &str) -> Outcome<SanType> {
    Ok(SanType::DnsName(name.try_into()?))
}

fn uri(uri: &str) -> Outcome<SanType> {
    Ok(SanType::URI(uri.try_into()?))
}

fn parent(name: &str) -> Outcome<&str> {
    match name.split_once('.') {
        Some((_, parent)) => Ok(parent),
        None => Err(Failure::from(format!("{name} has no parent domain to make a wildcard of"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::UnixTime;

    const NAME: &str = "sip.lab.example";

    /// Whether the Web's rules accept this kind for NAME; rustls is the judge here, not us.
    fn accepted(kind: Kind) -> bool {
        let authority = Authority::new("lab").unwrap();
        let identity = authority.issue(kind, NAME).unwrap();
        verify(&authority, &identity)
    }

    fn verify(authority: &Authority, identity: &Identity) -> bool {
        WebPkiServerVerifier::builder_with_provider(Arc::new(authority.roots().unwrap()), provider())
            .build()
            .unwrap()
            .verify_server_cert(
                &identity.certificate(),
                &[],
                &server_name(NAME).unwrap(),
                &[],
                UnixTime::since_unix_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()),
            )
            .is_ok()
    }

    #[test]
    fn each_bad_certificate_is_bad_in_the_way_that_it_says() {
        assert!(accepted(Kind::Good));
        // Two that the Web accepts and SIP must not: the library's own check has to refuse them.
        assert!(accepted(Kind::Wildcard));
        assert!(accepted(Kind::ShadowingUri));
        for kind in [
            Kind::WrongName,
            Kind::Expired,
            Kind::NotYetValid,
            Kind::SelfSigned,
            Kind::SipUriOnly,
            Kind::CommonNameOnly,
        ] {
            assert!(!accepted(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_second_authority_of_the_same_name_is_a_stranger() {
        let (ours, theirs) = (Authority::new("lab").unwrap(), Authority::new("lab").unwrap());
        assert!(!verify(&ours, &theirs.issue(Kind::Good, NAME).unwrap()));
    }

    #[test]
    fn the_pin_is_the_hash_of_the_public_key_not_of_the_certificate() {
        let authority = Authority::new("lab").unwrap();
        let identity = authority.issue(Kind::Good, NAME).unwrap();
        // The certificate holds its SubjectPublicKeyInfo verbatim (RFC 5280 §4.1).
        let spki = identity.key.subject_public_key_info();
        assert!(identity.certificate.windows(spki.len()).any(|window| window == spki));
        assert_eq!(identity.pin_sha256().len(), 44);
        assert_ne!(identity.pin_sha256(), BASE64.encode(Sha256::digest(&identity.certificate)));
    }
}
