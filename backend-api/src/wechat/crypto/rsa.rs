//! RSASSA-PKCS1-v1_5 with SHA-256, in base64 (FACTS 3.2, 3.3).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{BadSignature, KeyError};

/// The merchant's private key.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// From `-----BEGIN PRIVATE KEY-----` (PKCS#8), as the merchant platform gives it.
    ///
    /// # Errors
    /// When it is something else. A key that cannot sign is found here, not at the first payment.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| KeyError::NotRsa)?;
        let mut trial = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"", &mut trial).map_err(|_| KeyError::NotRsa)?;
        Ok(Self(pair))
    }

    /// The signature of `message`, base64.
    pub fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the key signed when it was read, and the length of a message is no matter to it");
        BASE64_STANDARD.encode(signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// A public key that signatures are held against.
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    /// From `-----BEGIN PUBLIC KEY-----` (SPKI).
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        Self::from_spki(der.as_ref())
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map(Self).map_err(|_| KeyError::NotRsa)
    }

    /// Whether `signature` (base64) is this key's over `message`.
    ///
    /// # Errors
    /// When it is not. Text that is no base64 is one way of not being it: the platform probes with such (FACTS 3.3).
    pub fn verify(&self, message: &[u8], signature: &str) -> Result<(), BadSignature> {
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| BadSignature)?;
        self.0.verify_sig(message, &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(…)")
    }
}

/// What of a certificate counts here. Its validity does not: which ones are in use is said by the platform's list.
#[derive(Debug)]
pub struct Certificate {
    /// Upper-case hex, as the headers name it.
    pub serial: String,
    /// Its key.
    pub key: VerifyingKey,
}

impl Certificate {
    /// From `-----BEGIN CERTIFICATE-----`.
    ///
    /// # Errors
    /// When it is something else, or its key is no RSA key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeyError::NotCertificate)?;
        let digits = hex::encode_upper(certificate.raw_serial());
        Ok(Self {
            // DER puts a zero byte before numbers that would else look negative
            serial: digits.strip_prefix("00").map_or(digits.clone(), str::to_owned),
            key: VerifyingKey::from_spki(certificate.public_key().raw)?,
        })
    }
}
